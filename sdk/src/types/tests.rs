//! The JSON of the contract, read and written byte for byte.

use std::fmt::Debug;

use proptest::prelude::*;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::*;

/// Reads `json` as `value`, and writes `value` as `json`.
fn both_ways<T: Serialize + DeserializeOwned + PartialEq + Debug>(json: &str, value: &T) {
    let read: T = serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"));
    assert_eq!(&read, value);
    assert_eq!(serde_json::to_string(value).unwrap(), json);
}

fn at(text: &str) -> DateTime {
    text.parse().unwrap()
}

fn user() -> User {
    User {
        id: UserId(7),
        email: "minsu@example.com".into(),
        username: "민수".into(),
    }
}

fn transaction_metadata(
    payment_gateway: PaymentMethod,
    processing_fee_rate: f64,
    estimated_fee: f64,
) -> TransactionMetadata {
    TransactionMetadata {
        payment_gateway,
        supports_refund: true,
        processing_fee_rate,
        estimated_fee,
    }
}

#[test]
fn accounts() {
    both_ways(
        r#"{"email":"minsu@example.com","username":"민수","password":"correct1"}"#,
        &Signup {
            email: "minsu@example.com".into(),
            username: "민수".into(),
            password: "correct1".into(),
        },
    );
    both_ways(
        r#"{"email":"minsu@example.com","password":"correct1"}"#,
        &Login {
            email: "minsu@example.com".into(),
            password: "correct1".into(),
        },
    );
    both_ways(
        r#"{"refresh":"r.r.r"}"#,
        &Refresh {
            refresh: "r.r.r".into(),
        },
    );
    both_ways(
        r#"{"message":"회원가입이 완료되었습니다.","user":{"id":7,"email":"minsu@example.com","username":"민수"}}"#,
        &SignedUp {
            message: "회원가입이 완료되었습니다.".into(),
            user: user(),
        },
    );
    both_ways(
        r#"{"access":"a.a.a","refresh":"r.r.r","user":{"id":7,"email":"minsu@example.com","username":"민수"}}"#,
        &Tokens {
            access: "a.a.a".into(),
            refresh: "r.r.r".into(),
            user: user(),
        },
    );
    both_ways(
        r#"{"access":"a.a.a"}"#,
        &AccessToken {
            access: "a.a.a".into(),
            refresh: None,
        },
    );
    both_ways(
        r#"{"access":"a.a.a","refresh":"r.r.r"}"#,
        &AccessToken {
            access: "a.a.a".into(),
            refresh: Some("r.r.r".into()),
        },
    );
}

#[test]
fn debug_shows_no_secret() {
    let login = Login {
        email: "minsu@example.com".into(),
        password: "correct1".into(),
    };
    assert!(!format!("{login:?}").contains("correct1"));
    let tokens = Tokens {
        access: "a.a.a".into(),
        refresh: "r.r.r".into(),
        user: user(),
    };
    let shown = format!("{tokens:?}");
    assert!(!shown.contains("a.a.a") && !shown.contains("r.r.r"), "{shown}");
}

#[test]
fn lists() {
    let exam = Exam {
        id: ExamId(1),
        title: "정보처리기사 실기".into(),
        description: None,
        price: Money::won(45_000),
        start_at: at("2026-11-01T00:00:00Z"),
        end_at: at("2026-11-30T14:59:59.999999Z"),
        created_at: at("2026-10-01T00:00:00Z"),
        is_registered: false,
        registration_count: 3,
        capacity: None,
        remaining: None,
    };
    let result = concat!(
        r#"{"id":1,"title":"정보처리기사 실기","description":null,"price":"45000.00","start_at":"2026-11-01T00:00:00Z","#,
        r#""end_at":"2026-11-30T14:59:59.999999Z","created_at":"2026-10-01T00:00:00Z","is_registered":false,"#,
        r#""registration_count":3}"#,
    );
    both_ways(result, &exam);
    let next = "http://localhost:8000/api/tests/?page=2";
    let json = format!(r#"{{"count":21,"next":"{next}","previous":null,"results":[{result}]}}"#);
    both_ways(
        &json,
        &Page {
            count: 21,
            next: Some(next.into()),
            previous: None,
            results: vec![exam.clone()],
        },
    );
    let written_by_the_database = RawValue::from_string(format!("[{result}]")).unwrap();
    let page = Page {
        count: 21,
        next: Some(next.to_owned()),
        previous: None,
        results: &*written_by_the_database,
    };
    assert_eq!(serde_json::to_string(&page).unwrap(), json);

    let limited = result.replace(r#":3}"#, r#":3,"capacity":10,"remaining":7}"#);
    both_ways(
        &limited,
        &Exam {
            capacity: Some(10),
            remaining: Some(7),
            ..exam.clone()
        },
    );
    let unlimited = result.replace(
        r#":3}"#,
        r#":3,"capacity":null,"remaining":null,"of_a_later_version":[]}"#,
    );
    assert_eq!(serde_json::from_str::<Exam>(&unlimited).unwrap(), exam);
    assert!(serde_json::from_str::<Course>(result).is_ok_and(|course| course.id == CourseId(1)));
    both_ways(r#""popular""#, &Sort::Popular);
}

#[test]
fn registrations() {
    both_ways(
        r#"{"amount":"45000.00","payment_method":"bank_transfer"}"#,
        &Register {
            amount: Money::won(45_000),
            payment_method: PaymentMethod::BankTransfer,
        },
    );
    let from_number: Register = serde_json::from_str(r#"{"amount":45000.00,"payment_method":"card"}"#).unwrap();
    assert_eq!(from_number.amount, Money::won(45_000));

    both_ways(
        concat!(
            r#"{"message":"시험 응시 신청이 완료되었습니다","payment_id":1,"registration_id":1,"payment_method":"card","#,
            r#""transaction_metadata":{"payment_gateway":"card","supports_refund":true,"#,
            r#""processing_fee_rate":0.032,"estimated_fee":1440.0}}"#,
        ),
        &Registered {
            message: "시험 응시 신청이 완료되었습니다".into(),
            payment_id: PaymentId(1),
            registration: Registration::Application(RegistrationId(1)),
            payment_method: PaymentMethod::Card,
            transaction_metadata: transaction_metadata(PaymentMethod::Card, 0.032, 1440.0),
        },
    );
    both_ways(
        concat!(
            r#"{"message":"수업 수강 신청이 완료되었습니다","payment_id":2,"enrollment_id":1,"payment_method":"kakaopay","#,
            r#""transaction_metadata":{"payment_gateway":"kakaopay","supports_refund":true,"#,
            r#""processing_fee_rate":0.029,"estimated_fee":2.9}}"#,
        ),
        &Registered {
            message: "수업 수강 신청이 완료되었습니다".into(),
            payment_id: PaymentId(2),
            registration: Registration::Enrolment(RegistrationId(1)),
            payment_method: PaymentMethod::KakaoPay,
            transaction_metadata: transaction_metadata(PaymentMethod::KakaoPay, 0.029, 2.9),
        },
    );
    both_ways(
        r#"{"message":"시험이 완료되었습니다","registration_id":1,"completed_at":"2026-11-23T03:21:26.123456Z"}"#,
        &Completed {
            message: "시험이 완료되었습니다".into(),
            registration: Registration::Application(RegistrationId(1)),
            completed_at: at("2026-11-23T03:21:26.123456Z"),
        },
    );
    both_ways(
        r#"{"message":"수업이 완료되었습니다","enrollment_id":1,"completed_at":"2026-11-23T03:21:26.123456Z"}"#,
        &Completed {
            message: "수업이 완료되었습니다".into(),
            registration: Registration::Enrolment(RegistrationId(1)),
            completed_at: at("2026-11-23T03:21:26.123456Z"),
        },
    );
    both_ways(r#"{"amount":"0.00","payment_method":"free"}"#, &Register::free());
}

#[test]
fn payments() {
    let json = concat!(
        r#"{"id":1,"payment_type":"test","target_title":"정보처리기사 실기","target_type":"test","target_id":1,"#,
        r#""amount":"45000.00","payment_method":"card","status":"paid","paid_at":"2026-11-23T03:21:26.123456Z","#,
        r#""cancelled_at":null,"registration_time":null}"#,
    );
    let payment = Payment {
        id: PaymentId(1),
        payment_type: Word::Known(PaymentType::Exam),
        target_title: Some("정보처리기사 실기".into()),
        target_type: Word::Known(PaymentType::Exam),
        target_id: 1,
        amount: Money::won(45_000),
        payment_method: Word::Known(PaymentMethod::Card),
        status: Word::Known(PaymentStatus::Paid),
        paid_at: at("2026-11-23T03:21:26.123456Z"),
        cancelled_at: None,
        registration_time: None,
    };
    both_ways(json, &payment);
    both_ways(
        &json.replace(r#""paid""#, r#""chargeback""#),
        &Payment {
            status: Word::New("chargeback".into()),
            ..payment.clone()
        },
    );
    assert!(payment.status == PaymentStatus::Paid && payment.status != PaymentStatus::Refunded);

    both_ways(
        r#"{"refund_reason":"단순 변심"}"#,
        &Cancel {
            refund_reason: Some("단순 변심".into()),
            refund_account: None,
        },
    );
    both_ways("{}", &Cancel::default());
    both_ways(
        r#"{"message":"결제가 취소되었습니다","payment_id":1,"cancelled_at":"2026-11-23T03:21:26.120Z"}"#,
        &Cancelled {
            message: "결제가 취소되었습니다".into(),
            payment_id: PaymentId(1),
            cancelled_at: at("2026-11-23T03:21:26.12Z"),
        },
    );
    let pending = RefundPending {
        message: "환불을 확인하고 있습니다".into(),
        payment_id: PaymentId(1),
        refund_id: RefundId(2),
        amount: Money::won(45_000),
        status: Word::Known(RefundStatus::Sent),
    };
    let json =
        r#"{"message":"환불을 확인하고 있습니다","payment_id":1,"refund_id":2,"amount":"45000.00","status":"sent"}"#;
    both_ways(json, &pending);
    both_ways::<Settlement<Cancelled>>(json, &Settlement::Pending(pending.clone()));
    both_ways::<Settlement<Refunded>>(json, &Settlement::Pending(pending));
}

#[test]
fn payment_methods() {
    for (method, word) in [
        (PaymentMethod::KakaoPay, "kakaopay"),
        (PaymentMethod::Card, "card"),
        (PaymentMethod::BankTransfer, "bank_transfer"),
        (PaymentMethod::Free, "free"),
        (PaymentMethod::Outside, "outside"),
    ] {
        assert_eq!(word.parse(), Ok(method));
        assert_eq!(method.to_string(), word);
    }
    assert_eq!("Card".parse::<PaymentMethod>(), Err(UnknownWord));
}

proptest! {
    #[test]
    fn a_payment_method_is_one_of_the_words(word in any::<String>()) {
        prop_assert_eq!(word.parse::<PaymentMethod>().is_ok(), PaymentMethod::ALL.iter().any(|m| m.as_str() == word));
    }
}

#[test]
fn errors() {
    let body = |text, code| ErrorBody {
        text,
        code,
        request_id: "0192".into(),
    };
    let fields = || FieldErrors::from([("amount".into(), vec!["필수 항목입니다.".into()])]);
    both_ways(
        r#"{"error":"이미 응시 신청한 시험입니다","code":"already_registered","request_id":"0192"}"#,
        &body(
            ErrorText::error("이미 응시 신청한 시험입니다"),
            ErrorCode::AlreadyRegistered,
        ),
    );
    both_ways(
        r#"{"detail":"Invalid page.","code":"invalid_page","request_id":"0192"}"#,
        &body(ErrorText::detail("Invalid page."), ErrorCode::InvalidPage),
    );
    both_ways(
        concat!(
            r#"{"message":"회원가입에 실패했습니다.","errors":{"amount":["필수 항목입니다."]},"#,
            r#""code":"invalid","request_id":"0192"}"#
        ),
        &body(
            ErrorText::Form {
                message: "회원가입에 실패했습니다.".into(),
                errors: fields(),
            },
            ErrorCode::Invalid,
        ),
    );
    both_ways(
        r#"{"amount":["필수 항목입니다."],"code":"invalid","request_id":"0192"}"#,
        &body(ErrorText::Fields(fields()), ErrorCode::Invalid),
    );
    both_ways(
        r#"{"detail":"…","code":"of_a_later_version","request_id":"0192"}"#,
        &body(ErrorText::detail("…"), ErrorCode::Other("of_a_later_version".into())),
    );
}

#[test]
fn errors_of_the_django_service_are_read() {
    let body: ErrorBody = serde_json::from_str(
        r#"{"detail":"Given token not valid","code":"token_not_valid","messages":[{"token_class":"AccessToken"}]}"#,
    )
    .unwrap();
    assert_eq!((body.code, body.request_id.as_str()), (ErrorCode::TokenNotValid, ""));
    let body: ErrorBody = serde_json::from_str(r#"{"amount":["필수"],"payment_method":"하나만"}"#).unwrap();
    assert_eq!(body.text.to_string(), "amount: 필수; payment_method: 하나만");
    assert_eq!(body.code, ErrorCode::Other(String::new()));
}

#[test]
fn every_code_is_read_from_its_word() {
    for code in ErrorCode::ALL {
        assert_eq!(code.as_str().parse(), Ok(code.clone()));
        assert!(code.meaning().ends_with('.'), "{code}");
    }
}
