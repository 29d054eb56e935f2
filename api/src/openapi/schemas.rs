//! The schemas of the document: the wire types with the server's limits.

use sugang_sdk::types::{
    AccessToken, ApproveOrder, AttemptStatus, AuditCheck, Cancel, CancelOrder, CancelRegistration, Cancelled,
    CompleteRegistrations, ConfirmOrder, Course, CourseId, DayFigures, Delivery, DeliveryId, DeliveryStatus, Deposit,
    EditItem, EditWebhook, Event, EventData, EventType, Every, Exam, ExamId, Figures, ItemFigures, ItemsCreated, Login,
    ManagedCourse, ManagedExam, ManagedOrder, ManagedPayment, ManagedRegistration, ManagedUser, Money, MoneySum,
    NewItem, NewRegistration, NewWebhook, Order, OrderAttempt, OrderId, OrderRefund, OrderStatus, PausedBy, Payment,
    PaymentId, PaymentMethod, PaymentStatus, PaymentType, PaymentWindow, Pinged, Preorder, Redeliver, Redelivered,
    Refresh, Refund, RefundAccount, RefundChoice, RefundId, RefundOrder, RefundPayment, RefundPending, RefundStatus,
    Refunded, Register, RegistrationCancelled, RegistrationChanged, RegistrationCounts, RegistrationId,
    RegistrationStatus, RegistrationsCompleted, RepeatItem, RowError, Secret, SignedUp, Signup, Tokens,
    TransactionMetadata, User, UserDetails, UserId, UserRegistration, UserRights, Webhook, WebhookId, WebhookStatus,
};
use utoipa::{
    PartialSchema,
    openapi::{
        Components, ComponentsBuilder, Object, RefOr, Schema,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use super::{
    errors,
    names::{BEARER, CODE, ERROR},
    webhooks,
};
use crate::{
    extract::forms::signup::{MAX_EMAIL_CHARS, MAX_USERNAME_CHARS, MIN_PASSWORD_CHARS},
    operation::{
        description::{FILE, GATEWAY_EVENT},
        parameters::string,
    },
};

/// Examples of a course, whose type it shares with an exam.
const COURSE_EXAMPLES: [(&str, &str); 2] = [("title", "실전 SQL 튜닝"), ("description", "실행 계획을 읽는 8주 수업")];

/// The minimum and the maximum characters of a text, by the rules of the server, which the SDK does not know.
const LENGTHS: [(&str, &str, usize, Option<usize>); 3] = [
    ("Signup", "email", 1, Some(MAX_EMAIL_CHARS)),
    ("Signup", "username", 1, Some(MAX_USERNAME_CHARS)),
    ("Signup", "password", MIN_PASSWORD_CHARS, None),
];

pub(super) fn components() -> Components {
    let mut components = ComponentsBuilder::new()
        .schema_from::<Signup>()
        .schema_from::<Login>()
        .schema_from::<Refresh>()
        .schema_from::<SignedUp>()
        .schema_from::<Tokens>()
        .schema_from::<AccessToken>()
        .schema_from::<User>()
        .schema_from::<Register>()
        .schema_from::<TransactionMetadata>()
        .schema_from::<Payment>()
        .schema_from::<Cancel>()
        .schema_from::<Cancelled>()
        .schema_from::<PaymentMethod>()
        .schema_from::<PaymentStatus>()
        .schema_from::<PaymentType>()
        .schema_from::<Money>()
        .schema_from::<Secret>()
        .schema_from::<UserRights>()
        .schema_from::<ManagedUser>()
        .schema_from::<UserDetails>()
        .schema_from::<UserRegistration>()
        .schema_from::<RegistrationCounts>()
        .schema_from::<Figures>()
        .schema_from::<AuditCheck>()
        .schema_from::<DayFigures>()
        .schema_from::<ItemFigures>()
        .schema_from::<MoneySum>()
        .schema_from::<ManagedPayment>()
        .schema_from::<Refund>()
        .schema_from::<RefundPayment>()
        .schema_from::<Refunded>()
        .schema_from::<RefundAccount>()
        .schema_from::<RefundPending>()
        .schema_from::<RefundStatus>()
        .schema_from::<RefundId>()
        .schema_from::<Delivery>()
        .schema_from::<DeliveryId>()
        .schema_from::<DeliveryStatus>()
        .schema_from::<EditWebhook>()
        .schema_from::<Event>()
        .schema_from::<EventData>()
        .schema_from::<EventType>()
        .schema_from::<NewWebhook>()
        .schema_from::<PausedBy>()
        .schema_from::<Pinged>()
        .schema_from::<Redeliver>()
        .schema_from::<Redelivered>()
        .schema_from::<Webhook>()
        .schema_from::<WebhookId>()
        .schema_from::<WebhookStatus>()
        .schema_from::<NewItem>()
        .schema_from::<RepeatItem>()
        .schema_from::<Every>()
        .schema_from::<EditItem>()
        .schema_from::<ManagedRegistration>()
        .schema_from::<NewRegistration>()
        .schema_from::<RegistrationChanged>()
        .schema_from::<CompleteRegistrations>()
        .schema_from::<RegistrationsCompleted>()
        .schema_from::<CancelRegistration>()
        .schema_from::<RegistrationCancelled>()
        .schema_from::<RefundChoice>()
        .schema_from::<Preorder>()
        .schema_from::<Order>()
        .schema_from::<OrderStatus>()
        .schema_from::<OrderId>()
        .schema_from::<Deposit>()
        .schema_from::<OrderRefund>()
        .schema_from::<PaymentWindow>()
        .schema_from::<ApproveOrder>()
        .schema_from::<ManagedOrder>()
        .schema_from::<OrderAttempt>()
        .schema_from::<AttemptStatus>()
        .schema_from::<ConfirmOrder>()
        .schema_from::<CancelOrder>()
        .schema_from::<RefundOrder>()
        .schema_from::<RowError>()
        .schema_from::<RegistrationStatus>()
        .schema_from::<UserId>()
        .schema_from::<ExamId>()
        .schema_from::<CourseId>()
        .schema_from::<PaymentId>()
        .schema_from::<RegistrationId>()
        .schema("Exam", Exam::schema())
        .schema("Course", Course::schema())
        .schema("ManagedExam", ManagedExam::schema())
        .schema("ManagedCourse", ManagedCourse::schema())
        .schema("ExamsCreated", ItemsCreated::<ExamId>::schema())
        .schema("CoursesCreated", ItemsCreated::<CourseId>::schema())
        .schema(FILE, string().description(Some("CSV, or JSON Lines.")).build())
        .schema(
            GATEWAY_EVENT,
            Object::builder()
                .description(Some("What the gateway's own documents say."))
                .build(),
        )
        .schema(CODE, errors::error_code())
        .schema(ERROR, errors::error())
        .build();
    for (name, example) in COURSE_EXAMPLES {
        for course in ["Course", "ManagedCourse"] {
            property(&mut components, course, name).examples = vec![example.into()];
        }
    }
    for (schema, name, least, most) in LENGTHS {
        let text = property(&mut components, schema, name);
        (text.min_length, text.max_length) = (Some(least), most);
    }
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("The access token that a login answered."))
        .build();
    webhooks::add_headers(&mut components);
    components
        .security_schemes
        .insert(BEARER.into(), SecurityScheme::Http(bearer).into());
    components
}

fn property<'a>(components: &'a mut Components, schema: &str, property: &str) -> &'a mut Object {
    let found = components.schemas.get_mut(schema);
    let Some(RefOr::T(Schema::Object(object))) = found else {
        panic!("{schema} is no object")
    };
    let found = object.properties.get_mut(property);
    let Some(RefOr::T(Schema::Object(property))) = found else {
        panic!("{schema} has no {property} of a plain type")
    };
    property
}
