//! Figures, for operators: registrations and money by day, and those of one exam or course.

use chrono::NaiveDate;

use crate::{
    auth::tokens::Caller,
    context::RequestContext,
    error::{ApiError, FieldProblem, FieldProblems, catalog::NOT_FOUND},
    extract::Query,
    http::Response,
    kind::{ItemKind, KINDS},
    operation::{Handler, ItemOperation, Operation},
    store::{
        FunctionRow, Outcome,
        functions::GetFigures,
        operator_functions::{Figures, operators},
    },
};

/// The most days of a period: those of a leap year.
const MAX_DAYS: i64 = 366;

pub(crate) static DAYS: Operation = Operation {
    id: "get_figures",
    handler: Handler::Private(|ctx, caller| Box::pin(days(ctx, caller))),
    #[cfg(test)]
    describe: description::days,
};

/// Sums registrations and money by day.
pub(crate) async fn days(ctx: &RequestContext<'_>, caller: Caller) -> Result<Response, ApiError> {
    let query = Query::parse(&ctx.head.query);
    let (from, to) = period(query.days(["from", "to"])?)?;
    let kind = query.value("kind", |word| {
        let kind = KINDS.iter().find(|kind| kind.payment_type == word);
        kind.map(|kind| kind.payment_type.to_owned())
            .ok_or(FieldProblem::InvalidChoice)
    })?;
    let item = query.id("item")?;
    if item.is_some() && kind.is_none() {
        return Err(ApiError::Fields(FieldProblems::of("kind", FieldProblem::Required)));
    }
    let call = Figures {
        user: caller.id(),
        from,
        to,
        kind,
        item,
        epoch: caller.epoch(),
    };
    found(ctx.execute(operators(), call).await?)
}

/// Checks that both days are there, and what is between them.
fn period(days: [Option<String>; 2]) -> Result<(String, String), ApiError> {
    let mut problems = FieldProblems::default();
    if let [Some(from), Some(to)] = days {
        let length = match (from.parse::<NaiveDate>(), to.parse::<NaiveDate>()) {
            (Ok(from), Ok(to)) => (to - from).num_days() + 1,
            _ => return Err(ApiError::internal("a day was not checked")),
        };
        match length {
            1..=MAX_DAYS => return Ok((from, to)),
            ..=0 => problems.push("to", FieldProblem::BeforeFrom),
            _ => problems.push("to", FieldProblem::TooManyDays(MAX_DAYS)),
        }
    } else {
        for (name, day) in ["from", "to"].into_iter().zip(&days) {
            if day.is_none() {
                problems.push(name, FieldProblem::Required);
            }
        }
    }
    Err(ApiError::Fields(problems))
}

pub(crate) static ITEM: ItemOperation = ItemOperation {
    id: |kind| format!("get_{}_figures", kind.names.0),
    handler: |ctx, caller, kind| Box::pin(item(ctx, caller, kind)),
    #[cfg(test)]
    describe: description::item,
};

/// Gets the figures of one item.
pub(crate) async fn item(
    ctx: &RequestContext<'_>,
    caller: Caller,
    kind: &'static ItemKind,
) -> Result<Response, ApiError> {
    let call = GetFigures {
        user: caller.id(),
        id: ctx.id,
        epoch: caller.epoch(),
    };
    found(ctx.execute(kind.functions(), call).await?)
}

fn found(row: FunctionRow) -> Result<Response, ApiError> {
    match row.outcome {
        Outcome::Ok => Ok(Response::text(200, "application/json", row.body)),
        Outcome::NotFound => Err((&NOT_FOUND).into()),
        _ => Err(row.unexpected()),
    }
}

#[cfg(test)]
mod description {
    use sugang_sdk::types::{Figures, ItemFigures, PaymentType};
    use utoipa::{
        ToSchema,
        openapi::{
            Required,
            path::{Parameter, ParameterIn},
        },
    };

    use super::{ApiError, FieldProblem, FieldProblems, ItemKind, MAX_DAYS, NOT_FOUND};
    use crate::operation::{
        description::{Description, Success, operator, required},
        parameters::{day_parameter, id, id_parameter, parameter, string},
    };

    pub(super) fn days() -> Description {
        let kinds = PaymentType::ALL.iter().map(|kind| kind.as_str());
        let kind = string().enum_values(Some(kinds)).build();
        let needed = |mut day: Parameter| {
            day.required = Required::True;
            day
        };
        let wrong = |name, problem| ApiError::Fields(FieldProblems::of(name, problem));
        Description {
            tag: "operator".into(),
            summary: "Get registrations and money by day".into(),
            more: "What the books say: registrations of the history, money of the ledger. Each day (UTC) of the period is \
                   listed, at most 366. Money of a payment that another program has deleted counts only without `kind`."
                .into(),
            parameters: vec![
                needed(day_parameter("from", "The first day (UTC).")),
                needed(day_parameter("to", "The last day (UTC).")),
                parameter("kind", ParameterIn::Query, "Only those for this kind.", kind),
                id_parameter("item", "Only those for this exam or course. It needs `kind`."),
            ],
            body: None,
            success: Success::named(200, Figures::name()),
            errors: operator([
                required("from"),
                wrong("to", FieldProblem::TooManyDays(MAX_DAYS)),
                wrong("kind", FieldProblem::InvalidChoice),
            ]),
            cpu_bound: false,
        }
    }

    pub(super) fn item(kind: &'static ItemKind) -> Description {
        let (one, _) = kind.names;
        Description {
            tag: "operator".into(),
            summary: format!("Get the figures of one {one}"),
            more: "Its registrations and seats as they are now, and the money of its payments that the ledger has."
                .into(),
            parameters: vec![id(one)],
            body: None,
            success: Success::named(200, ItemFigures::name()),
            errors: operator([(&NOT_FOUND).into()]),
            cpu_bound: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_has_both_ends_and_at_most_a_year() {
        let is_period = |from: &str, to: &str| {
            let day = |day: &str| Some(day.to_owned()).filter(|day| !day.is_empty());
            period([day(from), day(to)]).is_ok()
        };
        for (from, to, expected) in [
            ("2026-11-26", "2026-11-26", true),
            ("2024-01-01", "2024-12-31", true),
            ("2026-01-01", "2027-01-01", true),
            ("2026-01-01", "2027-01-02", false),
            ("0001-01-01", "9999-12-31", false),
            ("9999-12-31", "9999-12-31", true),
            ("2026-11-26", "2026-11-25", false),
            ("", "2026-11-26", false),
            ("2026-11-26", "", false),
            ("", "", false),
        ] {
            assert_eq!(is_period(from, to), expected, "{from} {to}");
        }
    }
}
