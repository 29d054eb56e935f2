//! Stand-ins for payment gateways, one handle for each gateway.

use std::{
    io::{self, BufRead, BufReader},
    ops::Deref,
    path::{Path, PathBuf},
    process::{Child, Stdio},
};

use sugang_gateway::{Options, Plan, StandIn, Way, kakaopay, portone, stripe, toss};

use crate::{runtime, xtask};

/// The secret of the contract with Toss.
pub const TOSS_SECRET: &str = toss::SECRET;

/// The secret of PortOne's API.
pub const PORTONE_SECRET: &str = portone::SECRET;

/// The secret with which PortOne signs events.
pub const PORTONE_WEBHOOK_SECRET: &str = portone::WEBHOOK_SECRET;

/// The secret key of the contract with KakaoPay.
pub const KAKAOPAY_SECRET: &str = kakaopay::SECRET;

/// The shop's id at KakaoPay.
pub const KAKAOPAY_CID: &str = kakaopay::CID;

/// The secret key of the contract with Stripe's stand-in.
pub const STAND_IN_STRIPE_SECRET: &str = stripe::SECRET;

/// The secret with which Stripe's stand-in signs events.
pub const STAND_IN_STRIPE_WEBHOOK_SECRET: &str = stripe::WEBHOOK_SECRET;

/// Where no service listens.
const NO_SERVICE: &str = "http://127.0.0.1:9";

/// Declares the handle of one gateway. Plans, calls, events and the clock are those of the [`StandIn`].
macro_rules! handle {
    ($(#[$documentation:meta])* $name:ident, $gateway:literal) => {
        $(#[$documentation])*
        pub struct $name(StandIn);

        impl Deref for $name {
            type Target = StandIn;

            fn deref(&self) -> &StandIn {
                &self.0
            }
        }

        impl $name {
            /// Starts a stand-in without payments.
            ///
            /// # Errors
            /// There is no free port.
            pub async fn start() -> io::Result<Self> {
                // It outlives the test's own runtime, which may be blocked.
                let started = runtime().spawn(StandIn::start(Options::default()));
                Ok(Self(started.await??))
            }

            /// What the payment window does: the user agrees to pay by card. Returns the key that it hands over.
            pub fn authenticate(&self, reference: &str, amount: i64) -> String {
                self.agree($gateway, reference, amount, Way::Card)
            }

            /// The same for a user who will pay in to an account.
            pub fn authenticate_deposit(&self, reference: &str, amount: i64) -> String {
                self.agree($gateway, reference, amount, Way::VirtualAccount)
            }

            /// The user pays in. Returns whether the account takes it.
            pub fn pay_in(&self, reference: &str) -> bool {
                self.deposit($gateway, reference)
            }

            /// The bank takes a deposit back. Returns whether there was one.
            pub fn take_deposit_back(&self, reference: &str) -> bool {
                self.take_back($gateway, reference)
            }

            /// The money that it has taken, by its own books, whether or not it was given back.
            pub fn taken(&self) -> i64 {
                self.0.taken($gateway)
            }

            /// The money that it has given back, by its own books.
            pub fn given(&self) -> i64 {
                self.0.given($gateway)
            }
        }
    };
}

handle!(
    /// A stand-in for Toss Payments.
    TossServer,
    "toss"
);

handle!(
    /// A stand-in for PortOne, version 2.
    PortOneServer,
    "portone"
);

handle!(
    /// A stand-in for KakaoPay.
    KakaoPayServer,
    "kakaopay"
);

handle!(
    /// A stand-in for Stripe. It plays what localstripe does not: keys, refusals, and refunds that fail.
    StripeServer,
    "stripe"
);

impl KakaoPayServer {
    /// Has the method of payment refuse the next approval or refund that gets through, with this code.
    pub fn refuse(&self, code: &str) {
        self.refuse_at_kakaopay(code);
    }
}

impl TossServer {
    /// Plans the next confirmation that is not planned yet.
    pub fn plan_confirmation(&self, plan: Plan) {
        self.plan("POST /v1/payments/confirm", plan);
    }

    /// Plans the next look-up by the order's id that is not planned yet.
    pub fn plan_look_up(&self, plan: Plan) {
        self.plan("GET /v1/payments/orders/", plan);
    }

    /// Has the next confirmation that gets through refused with this status and code.
    pub fn refuse(&self, status: u16, code: &str) {
        self.refuse_at_toss(status, code);
    }
}

/// A stand-in that is a process of its own, `cargo xtask gateway`, which is killed on drop. Its books are in a folder.
pub struct StandInProcess {
    process: Child,
    port: u16,
    folder: PathBuf,
}

impl StandInProcess {
    /// Starts it on a port (0: any), with the books that the folder has.
    ///
    /// # Panics
    /// It does not start.
    pub fn start(port: u16, folder: &Path) -> Self {
        let mut process = xtask()
            // Until it is told of a service, it delivers its events to none.
            .args([
                "gateway",
                "--service",
                NO_SERVICE,
                "--port",
                &port.to_string(),
                "--journal",
            ])
            .arg(folder.join("books.json"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the stand-in starts");
        let (mut line, stdout) = (String::new(), process.stdout.take().expect("its output is a pipe"));
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("the stand-in says where it listens");
        let port = line.trim().rsplit(':').next().and_then(|port| port.parse().ok());
        Self {
            process,
            port: port.unwrap_or_else(|| panic!("the stand-in says {line:?}")),
            folder: folder.to_owned(),
        }
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Kills it, and starts it again at the same address.
    pub fn restart(self) -> Self {
        let (port, folder) = (self.port, self.folder.clone());
        drop(self);
        Self::start(port, &folder)
    }
}

impl Drop for StandInProcess {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
