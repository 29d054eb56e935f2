//! `docker-compose.yml`, without an engine: its environment works, and it has no default for a secret. `.ci/compose` runs it.

use std::{collections::BTreeMap, fs, path::Path};

use sugang_tests::{App, host_program};
use url::Url;

use crate::support::drop_role;

fn file() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docker-compose.yml");
    fs::read_to_string(file).expect("it is there")
}

/// The lines of each service.
fn services(file: &str) -> BTreeMap<&str, Vec<&str>> {
    let (_, services) = file.split_once("\nservices:\n").expect("it has services");
    let (services, _) = services.split_once("\nvolumes:\n").expect("it has volumes");
    let mut found = BTreeMap::<_, Vec<_>>::new();
    let mut current = "";
    for line in services.lines() {
        match line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')) {
            Some(name) => current = name.trim_end_matches(':'),
            None => found.entry(current).or_default().push(line.trim()),
        }
    }
    found
}

/// Fills in variables as Compose does: `${NAME:-default}`, `${NAME:?message}`.
fn fill(value: &str, shell: &[(&str, &str)]) -> String {
    let mut filled = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("${") {
        let (variable, after) = after.split_once('}').expect("a variable ends");
        let (name, default) = variable.split_once(":-").unwrap_or_else(|| {
            let (name, message) = variable.split_once(":?").expect("a default or a message");
            assert!(message.contains(name) && message.contains("README.md"), "{message}");
            (name, "")
        });
        let set = shell.iter().find(|(known, _)| *known == name);
        filled += before;
        filled += set.map_or(default, |(_, value)| *value);
        rest = after;
    }
    filled + rest
}

#[tokio::test]
async fn compose_takes_any_password() {
    let mut app = App::start().await;
    let (owner, role) = ("p@ss%41", "r@ss 42 '\"\\비");
    let name: String = app.one("select current_database()::text", &[]).await;
    let user = format!("{name}_owner");
    let create = format!("create role {user} login superuser password '{owner}'");
    app.run(&create, &[]).await;
    let server: Url = app.database_url().parse().expect("a URL");
    let server = format!(
        "{}:{}/{name}",
        server.host_str().expect("a host"),
        server.port().expect("a port")
    );

    let file = file();
    let services = services(&file);
    let environment = |service: &str| -> Vec<(String, String)> {
        let secrets = [("POSTGRES_PASSWORD", owner), ("API_DATABASE_PASSWORD", role)];
        let pairs = services[service].iter().filter_map(|line| line.split_once(": "));
        pairs
            .filter(|(name, _)| name.starts_with("SPIN_VARIABLE_DATABASE") || name.starts_with("SUGANG_ROLE"))
            .map(|(name, value)| {
                let value = fill(value, &secrets).replace("postgres:5432/sugang", &server);
                (name.to_owned(), value.replace("//sugang@", &format!("//{user}@")))
            })
            .collect()
    };
    let api = format!("{name}_api");
    let migrated = host_program()
        .args(["migrate", "--grant-to", &api])
        .envs(environment("migrate"))
        .output()
        .expect("the program runs");
    assert!(migrated.status.success(), "{migrated:?}");
    let environment: BTreeMap<_, _> = environment("api").into_iter().collect();
    assert_eq!(environment.len(), 2, "{environment:?}");
    for (variable, value) in &environment {
        let variable = variable.trim_start_matches("SPIN_VARIABLE_").to_ascii_lowercase();
        app.set(&variable, value.replace("//sugang_api@", &format!("//{api}@")));
    }
    app.restart().await;
    assert_eq!(app.get("/readyz").await.json()["status"], "ok");
    app.stop().await;
    app.run(&format!("drop role {user}"), &[]).await;
    drop_role(&app, &api).await;
}

#[test]
fn no_secret_has_a_default_and_every_container_is_confined() {
    let file = file();
    for line in file.lines().filter(|line| !line.trim_start().starts_with('#')) {
        let Some((name, value)) = line.trim().split_once(": ") else {
            continue;
        };
        let is_secret = ["PASSWORD", "SECRET", "REDISCLI_AUTH"]
            .iter()
            .any(|word| name.ends_with(word));
        assert!(!is_secret || value.contains(":?") && !value.contains(":-"), "{line}");
        assert!(!value.contains(":latest"), "{line}");
    }
    let (_, hardened) = file.split_once("x-hardened: &hardened\n").expect("it is there");
    let hardened: Vec<_> = hardened.lines().map_while(|line| line.strip_prefix("  ")).collect();
    assert_eq!(
        hardened,
        [
            "cap_drop: [ALL]",
            "security_opt: [\"no-new-privileges:true\"]",
            "read_only: true",
            "restart: unless-stopped"
        ]
    );
    let services = services(&file);
    assert_eq!(
        services.keys().collect::<Vec<_>>(),
        [&"api", &"migrate", &"postgres", &"redis"]
    );
    for (service, lines) in &services {
        assert!(lines.contains(&"<<: *hardened"), "{service}");
        assert!(lines.iter().any(|line| line.starts_with("mem_limit: ")), "{service}");
        assert!(
            !lines
                .iter()
                .any(|line| line.starts_with("privileged") || line.starts_with("read_only")),
            "{service}"
        );
    }
    let published: Vec<_> = file
        .lines()
        .map(str::trim)
        .filter(|line| line.ends_with(":8000\""))
        .collect();
    assert_eq!(
        published,
        ["- \"${SUGANG_ADDRESS:-127.0.0.1}:${SUGANG_PORT:-8000}:8000\""]
    );
    // The API does not know the password of the owner.
    assert!(services["api"].iter().all(|line| !line.contains("POSTGRES_PASSWORD")));
}
