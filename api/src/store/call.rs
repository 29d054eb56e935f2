//! How a function of the schema `sugang` is declared and called: the macro that [`super::functions`] is written with.

use spin_sdk::pg::ParameterValue;

use super::retry::Retry;

/// A call of an SQL function with its arguments.
pub(crate) trait FunctionCall {
    /// The texts of the statements of the group that the function belongs to.
    type Statements: 'static;

    /// Selects the statement.
    fn statement(statements: &'static Self::Statements) -> &'static Statement;

    /// Returns the arguments in the order of the parameters.
    fn arguments(self) -> Vec<ParameterValue>;

    /// Returns whether the call may be sent again after its connection was lost.
    fn retry(&self) -> Retry;
}

/// The statement that calls a function.
pub(crate) struct Statement {
    /// The name of the function without the schema: its first argument, and the first column of its row.
    pub(super) function: String,
    pub(super) text: String,
}

/// The columns that an operation reads. Each column is copied through host and component, so none is read in vain.
#[derive(Clone, Copy)]
pub(super) enum Columns {
    /// The page of a list, with its counts.
    List,
    /// The outcome alone, or with one object.
    One,
    /// A change, which may be a replay of an earlier one.
    Change,
}

impl Columns {
    pub(super) const fn names(self) -> &'static str {
        match self {
            Self::List => "outcome, body, count, page, pages",
            Self::One => "outcome, body",
            Self::Change => "outcome, body, replayed",
        }
    }
}

/// A type of a parameter.
pub(super) trait SqlType: Into<ParameterValue> {
    const NAME: &'static str;
}

macro_rules! sql_types {
    ($($rust:ty = $sql:literal,)*) => {
        $(impl SqlType for $rust {
            const NAME: &'static str = $sql;
        })*
    };
}

sql_types! {
    i64 = "bigint",
    Option<i64> = "bigint",
    bool = "boolean",
    String = "text",
    Option<String> = "text",
}

/// A declared function.
pub(super) struct Declaration {
    /// The name without the schema; `{kind}` stands for the kind.
    pub(super) name: &'static str,
    /// The Rust names and the SQL types of the parameters after the name of the function. In SQL a name has the prefix
    /// `p_`.
    pub(super) parameters: &'static [(&'static str, &'static str)],
    pub(super) columns: Columns,
}

impl Declaration {
    /// The statement that calls the function of a kind.
    pub(super) fn statement(&self, kind: &str) -> Statement {
        let function = self.name.replace("{kind}", kind);
        let last = self.parameters.len() + 2;
        let mut arguments = vec![format!(
            "case when ${last}::text is null or set_config('lock_timeout', ${last}, true) <> '' then $1::text end"
        )];
        arguments.extend((2..last).map(|number| format!("${number}")));
        let text = format!(
            "select '{function}' as function, {} from sugang.{function}({}) /* sugang-host: lock_timeout=${last}{} */",
            self.columns.names(),
            arguments.join(", "),
            self.rows(kind)
        );
        Statement { function, text }
    }

    /// The rows for which a change may wait, with the numbers of the parameters that identify them, and the part of the
    /// connections that may wait for each.
    fn rows(&self, kind: &str) -> String {
        let Columns::Change = self.columns else {
            return String::new();
        };
        let parameters = self.parameters.iter().zip(2..);
        let rows = parameters.filter_map(|((name, _), number)| match *name {
            "id" if kind.is_empty() => Some(format!(" payment=${number}/4")),
            "id" => Some(format!(" {kind}=${number}/4")),
            // Less, so that one user does not take the share of an item from the others.
            "user" => Some(format!(" user=${number}/8")),
            _ => None,
        });
        rows.collect()
    }

    /// The name with the types of the parameters, as PostgreSQL identifies the function.
    pub(super) fn signature(&self, kind: &str) -> String {
        let own = self.parameters.iter().map(|(_, sql_type)| *sql_type);
        let types: Vec<_> = std::iter::once("text").chain(own).collect();
        format!("{}({})", self.name.replace("{kind}", kind), types.join(","))
    }
}

macro_rules! functions {
    (
        $(#[$group_doc:meta])*
        $group:ident {
            $(
                $(#[$doc:meta])*
                $field:ident $call:ident = $name:literal $columns:ident {
                    $($parameter:ident: $type:ty,)*
                } retry($self:ident) $retry:expr;
            )*
        }
    ) => {
        $(#[$group_doc])*
        pub(crate) struct $group {
            $($field: Statement,)*
        }

        impl $group {
            pub(super) const DECLARATIONS: &[Declaration; [$($name),*].len()] = &[$(Declaration {
                name: $name,
                parameters: &[$((stringify!($parameter), <$type as SqlType>::NAME)),*],
                columns: Columns::$columns,
            }),*];

            fn new(kind: &str) -> Self {
                let [$($field),*] = Self::DECLARATIONS;
                Self {
                    $($field: $field.statement(kind),)*
                }
            }
        }

        $(
            $(#[$doc])*
            pub(crate) struct $call {
                $(pub(crate) $parameter: $type,)*
            }

            impl FunctionCall for $call {
                type Statements = $group;

                fn statement(statements: &'static $group) -> &'static Statement {
                    &statements.$field
                }

                fn arguments(self) -> Vec<ParameterValue> {
                    vec![$(self.$parameter.into()),*]
                }

                fn retry(&$self) -> Retry {
                    $retry
                }
            }
        )*
    };
}

pub(super) use functions;
