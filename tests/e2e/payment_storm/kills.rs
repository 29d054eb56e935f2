//! The same while the host, PostgreSQL and the gateway are killed.

use std::time::Duration;

use fastrand::Rng;
use sugang_tests::{App, HostOptions, HostProcess, StandInProcess, Supervisor};
use tokio::time::sleep;

use super::{
    place::Place,
    storm::{Crowd, TOSS_AND_PORTONE, seed, settings, what_is_wrong},
};

/// Starts a host, as soon as PostgreSQL lets it.
fn start_host(app: &App, variables: &[(&str, &str)]) -> HostProcess {
    let options = HostOptions {
        variables,
        ..HostOptions::default()
    };
    HostProcess::start(app, options)
}

#[tokio::test]
async fn the_books_of_all_sides_agree_after_kills() {
    let seed = seed();
    let mut rng = Rng::with_seed(seed);
    let mut supervisor = Supervisor::of_own_stores().expect("stores that may be broken");
    let folder = tempfile::tempdir().expect("a folder");
    let mut gateway = StandInProcess::start(0, folder.path());
    let settings = settings(TOSS_AND_PORTONE, &gateway.url());
    let variables: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut app = App::on(&supervisor).start().await;
    let mut host = start_host(&app, &variables);
    let place = Place::new(&host.base(), &gateway.url());
    place.send_events().await;
    let crowd = Crowd::gather(&app, 60).await;
    place.chaos(rng.u64(..), 30).await;

    let mut customers = rng.fork();
    let raging = crowd.rage(&place, &mut customers, 6);
    let sweeping = async {
        loop {
            place.sweep().await;
            sleep(Duration::from_millis(300)).await;
        }
    };
    let killing = async {
        for _ in 0..2 {
            sleep(Duration::from_millis(rng.u64(300..900))).await;
            // Dropping it kills it.
            drop(host);
            host = start_host(&app, &variables);
            place.moves(&host.base()).await;
            sleep(Duration::from_millis(rng.u64(300..900))).await;
            supervisor.command("postgres kill");
            supervisor.command("postgres start");
            sleep(Duration::from_millis(rng.u64(300..900))).await;
            gateway = gateway.restart();
            place.send_events().await;
            place.chaos(rng.u64(..), 30).await;
        }
        (host, gateway)
    };
    let ((), _running) = tokio::select! {
        done = async { futures::join!(raging, killing) } => done,
        () = sweeping => unreachable!("it goes on"),
    };
    app.reconnect().await;
    let wrong = what_is_wrong(&app, &place, &crowd.operator).await;
    assert!(wrong.is_empty(), "{wrong:#?}");
    let captured: i64 = app
        .one(
            "select count(*) from sugang.payment_attempts where status = 'captured'",
            &[],
        )
        .await;
    assert!(captured > 20, "it was calm: {captured}");
}
