//! The server with all gateways.

use std::{
    collections::BTreeMap,
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    books::{Books, Entry},
    deliver,
    event::Event,
    kakaopay,
    payment::{Return, Way},
    plan::Plan,
    portone, server,
    shared::Shared,
    toss,
};

/// How a stand-in is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where its books are kept, so that they survive its end.
    pub journal: Option<PathBuf>,
    /// The service to which it delivers its events by itself, such as `http://127.0.0.1:8000`. Without it, they wait for
    /// [`StandIn::events`].
    pub service: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            journal: None,
            service: None,
        }
    }
}

/// A server that plays all gateways, until it is dropped.
pub struct StandIn {
    url: String,
    shared: Arc<Shared>,
    tasks: [JoinHandle<()>; 2],
}

impl StandIn {
    /// Starts a stand-in, with the books of its journal if there are any.
    ///
    /// # Errors
    /// The port is taken, or the journal cannot be read.
    pub async fn start(options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind(options.address).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let journal = options.journal.as_ref().filter(|journal| journal.exists());
        let books = match journal {
            Some(journal) => serde_json::from_slice(&fs::read(journal)?)?,
            None => Books::begun_now(),
        };
        let shared = Arc::new(Shared::new(books, options.journal, options.service));
        let tasks = [
            tokio::spawn(server::accept(listener, shared.clone())),
            tokio::spawn(deliver::deliver(shared.clone())),
        ];
        Ok(Self { url, shared, tasks })
    }

    /// Its address, which is the base URL of each gateway.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The variables of a service that takes the money of orders over it, each method of payment over another gateway, and
    /// lets its pages call it.
    pub fn settings(&self) -> [(&'static str, String); 12] {
        let text = str::to_owned;
        let url = || self.url.clone();
        [
            (
                "payment_gateways",
                text("card=toss,kakaopay=kakaopay,bank_transfer=portone"),
            ),
            ("toss_url", url()),
            ("toss_secret", text(toss::SECRET)),
            ("kakaopay_url", url()),
            ("kakaopay_secret", text(kakaopay::SECRET)),
            ("kakaopay_cid", text(kakaopay::CID)),
            ("kakaopay_return_url", format!("{}/", self.url)),
            ("portone_url", url()),
            ("portone_secret", text(portone::SECRET)),
            ("portone_webhook_secret", format!("whsec_{}", portone::WEBHOOK_SECRET)),
            ("app_return_urls", url()),
            ("cors_allowed_origins", url()),
        ]
    }

    /// From now on, the shop calls this service, and events are delivered to it.
    pub fn serve(&self, service: &str) {
        self.shared.set_service(service);
    }

    /// Plans the next call that is not planned yet and whose method and path begin with `line`.
    pub fn plan(&self, line: &str, plan: Plan) {
        self.shared.plan(line, plan);
    }

    /// Plans all calls, from now on, that nothing else is planned for.
    pub fn plan_all(&self, plan: Option<Plan>) {
        self.shared.plan_all(plan);
    }

    /// Takes the calls that have come: method and path of each.
    pub fn calls(&self) -> Vec<String> {
        self.shared.calls()
    }

    /// Moves the clock of the gateways forward.
    pub fn advance(&self, seconds: i64) {
        self.shared.change(|books| books.desk.advance(seconds));
    }

    /// Takes the events that wait to be delivered, in their order.
    pub fn events(&self) -> Vec<Event> {
        self.shared.take_events()
    }

    /// What the window of a gateway does: the user agrees to pay. Returns the key that it hands over.
    ///
    /// # Panics
    /// There is no such gateway.
    pub fn agree(&self, gateway: &str, reference: &str, amount: i64, way: Way) -> String {
        let key = self.shared.change(|books| books.agree(gateway, reference, amount, way));
        key.unwrap_or_else(|| panic!("there is no gateway {gateway}"))
    }

    /// The user pays in to the account of a payment. Returns whether the account takes it.
    pub fn deposit(&self, gateway: &str, reference: &str) -> bool {
        self.shared.change(|books| books.deposit(gateway, reference, true))
    }

    /// The bank takes a deposit back. Returns whether there was one.
    pub fn take_back(&self, gateway: &str, reference: &str) -> bool {
        self.shared.change(|books| books.deposit(gateway, reference, false))
    }

    /// What a gateway has taken and given back, by the merchant's references.
    pub fn entries(&self, gateway: &str) -> BTreeMap<String, Entry> {
        self.shared.change(|books| books.entries(gateway))
    }

    /// The money that a gateway has taken, whether or not it was given back.
    pub fn taken(&self, gateway: &str) -> i64 {
        self.entries(gateway).values().map(|entry| entry.taken).sum()
    }

    /// The money that a gateway has given back.
    pub fn given(&self, gateway: &str) -> i64 {
        self.entries(gateway).values().map(|entry| entry.given).sum()
    }

    /// From now on, ids have at least this many characters.
    pub fn lengthen_ids(&self, chars: usize) {
        self.shared.change(|books| books.desk.id_chars = chars);
    }

    /// From now on, Toss takes the money that a user has agreed to, whatever amount is confirmed, and gives back whatever it is
    /// asked for.
    pub fn be_careless(&self) {
        self.shared.change(|books| books.toss.is_careless = true);
    }

    /// Has Toss refuse the next confirmation with this status and code.
    pub fn refuse_at_toss(&self, status: u16, code: &str) {
        self.shared
            .change(|books| books.toss.refusal = Some((status, code.to_owned())));
    }

    /// Where KakaoPay's window sends the user who has agreed, but for the `pg_token`.
    pub fn approval_url(&self, reference: &str) -> Option<String> {
        self.shared.change(|books| books.kakaopay.approval_url(reference))
    }

    /// Has the method of payment refuse the next approval or refund at KakaoPay, with this code.
    pub fn refuse_at_kakaopay(&self, code: &str) {
        self.shared
            .change(|books| books.kakaopay.refusal = Some(code.to_owned()));
    }

    /// From now on, KakaoPay gives back without a look at `cancel_available_amount`.
    pub fn be_careless_at_kakaopay(&self) {
        self.shared.change(|books| books.kakaopay.is_careless = true);
    }

    /// From now on, KakaoPay returns no `payload` in its look-ups.
    pub fn be_terse_at_kakaopay(&self) {
        self.shared.change(|books| books.kakaopay.is_terse = true);
    }

    /// From now on, refunds at Stripe are this far when they are made.
    pub fn return_at_stripe(&self, state: Return) {
        self.shared.change(|books| books.stripe.returns = state);
    }

    /// What becomes of the last refund of a payment at Stripe, days later.
    pub fn end_refund_at_stripe(&self, reference: &str, state: Return) {
        self.shared
            .change(|books| books.stripe.end_refund(reference, state, &mut books.desk));
    }

    /// The merchant gives this much of a payment back in the gateway's own console.
    pub fn give_back(&self, gateway: &str, reference: &str, amount: i64) {
        self.shared
            .change(|books| books.give_back(gateway, reference, Some(amount)));
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
