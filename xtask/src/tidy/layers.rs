//! Each crate's layers, from top to bottom: a file uses only files of its own layer and of those below it.

use std::collections::BTreeSet;

use super::arrows::{Arrows, Module, arrows};

/// The layers of one crate. A module stands for all modules below it that are not listed themselves.
struct Crate {
    /// Its folder of sources.
    sources: &'static str,
    layers: &'static [&'static [&'static str]],
    /// Whether circles among its files fail.
    denies_circles: bool,
    /// The crate is checked from the moment that this folder of it exists.
    since: &'static str,
}

/// Every crate whose layers are checked, with the reason for their order.
const CRATES: &[Crate] = &[
    // A run sets up targets; a target has a server and workers; a worker sends the requests of a scenario.
    Crate {
        sources: "bench/src",
        layers: &[
            &["run"],
            &["report", "goals"],
            &["load"],
            &["target", "dataset"],
            &["worker", "server"],
            &["connection", "explain", "goal", "process", "token"],
            &["catalogue"],
            &["request"],
            &["seed"],
            &["postgres"],
        ],
        denies_circles: true,
        since: "",
    },
    // A store's connection uses TLS, and TLS knows no store.
    Crate {
        sources: "connect/src",
        layers: &[&["https", "postgres", "redis"], &["addresses", "tls"], &["error"]],
        denies_circles: true,
        since: "",
    },
    // A server answers by the books, which have all gateways, which have payments.
    Crate {
        sources: "gateway/src",
        layers: &[
            &["tests"],
            &["stand_in"],
            &["deliver", "server"],
            &["control", "pages", "windows"],
            &["shared"],
            &["books"],
            &["kakaopay", "portone", "stripe", "toss"],
            &["gateway"],
            &["desk"],
            &["event", "html", "payment", "plan", "request"],
            &["http"],
        ],
        denies_circles: true,
        since: "",
    },
    // A run and the audit take scripts, which are expanded for each kind. One of them has the checks of the audit.
    Crate {
        sources: "migrations/src",
        layers: &[
            &["report"],
            &["audit", "run"],
            &["rehearsal"],
            &["role"],
            &["history", "locks"],
            &["preflight"],
            &["scripts"],
            &["checks"],
            &["call", "kind", "operators", "progress", "session"],
        ],
        denies_circles: true,
        since: "",
    },
    // A subcommand finds a database, a supervisor finds the stores, a kind of stores starts programs.
    Crate {
        sources: "xtask/src",
        layers: &[
            &["audit", "bench", "down", "explain", "operator", "seed", "test", "up"],
            &["migrate", "reset", "deny", "sql", "gateway", "clients"],
            &["database"],
            &["stores", "wasm", "workspace", "spin"],
            &["stores::supervisor"],
            &["stores::supervise"],
            &["stores::find"],
            &["stores::leftovers"],
            &["stores::docker", "stores::local"],
            &["stores::lock"],
            &["stores::choice", "stores::command", "stores::probe", "stores::running"],
            &["apt", "local_state"],
            &["progress", "project"],
        ],
        denies_circles: true,
        since: "",
    },
    // A request flows one way: route, authenticate, one SQL call, response.
    Crate {
        sources: "api/src",
        layers: &[
            &["entry", "fuzzing", "openapi"],
            &["service"],
            &["routes"],
            &["handlers"],
            &["operation"],
            &["kind", "payment_rules"],
            &["context"],
            &["state"],
            &["auth", "extract", "gateways", "webhooks"],
            &["config", "store"],
            &["error"],
            &["http"],
            &["log", "text"],
        ],
        denies_circles: true,
        since: "handlers",
    },
    // The server admits a request, an instance runs it, Spin's interfaces reach the stores.
    Crate {
        sources: "host/src",
        layers: &[
            &["bin"],
            &["application"],
            &["server"],
            &["instances"],
            &["wit"],
            &["outbound"],
            &["manifest", "stores"],
            &["error", "log", "settings", "sync"],
            &["environment"],
        ],
        denies_circles: true,
        since: "stores",
    },
];

fn check(name: &str, layers: &[&[&str]], denies_circles: bool, arrows: &Arrows) -> Vec<String> {
    let layer = |module: &Module| {
        (1..=module.len()).rev().find_map(|length| {
            let name = module[..length].join("::");
            layers.iter().position(|layer| layer.contains(&name.as_str()))
        })
    };
    let mut complaints = Vec::new();
    for (from, uses) in arrows.iter().filter(|(from, _)| !from.is_empty()) {
        let shown = from.join("::");
        let Some(own) = layer(from) else {
            complaints.push(format!(
                "{name}: {shown} is in no layer: add it to xtask/src/tidy/layers.rs"
            ));
            continue;
        };
        for used in uses {
            match layer(used) {
                Some(other) if other < own => complaints.push(format!(
                    "{name}: {shown} uses {}, which is {} above it",
                    used.join("::"),
                    match own - other {
                        1 => "one layer".to_owned(),
                        layers => format!("{layers} layers"),
                    }
                )),
                None if used.is_empty() => complaints.push(format!("{name}: {shown} uses the crate's root")),
                _ => {}
            }
        }
    }
    if denies_circles {
        let circles = arrows.keys().filter(|module| reaches(arrows, module, module));
        let circles: Vec<_> = circles.map(|module| module.join("::")).collect();
        if !circles.is_empty() {
            complaints.push(format!(
                "{name}: these files use each other in a circle: {}",
                circles.join(", ")
            ));
        }
    }
    complaints
}

/// Whether one or more arrows lead from a module to another.
fn reaches(arrows: &Arrows, from: &Module, to: &Module) -> bool {
    let mut seen = BTreeSet::new();
    let mut next = vec![from];
    while let Some(module) = next.pop() {
        for used in arrows.get(module).into_iter().flatten() {
            if used == to {
                return true;
            }
            if seen.insert(used) {
                next.push(used);
            }
        }
    }
    false
}

#[test]
fn no_arrow_points_up_and_no_files_form_a_circle() {
    let mut complaints = Vec::new();
    for Crate {
        sources,
        layers,
        denies_circles,
        since,
    } in CRATES
    {
        if !super::root().join(sources).join(since).is_dir() {
            continue;
        }
        let files: Vec<_> = super::files(sources, &["rs"])
            .into_iter()
            .map(|(path, text)| (path[sources.len() + 1..].to_owned(), text))
            .filter(|(path, _)| !path.starts_with("tidy"))
            .collect();
        assert!(!files.is_empty(), "{sources} has no file");
        complaints.extend(check(sources, layers, *denies_circles, &arrows(&files)));
    }
    super::expect_none(&complaints);
}

#[test]
fn each_rule_fails_on_a_sample() {
    let sample = |text: &str| {
        let files = [("top.rs", ""), ("low.rs", text), ("peer.rs", "use crate::low::L;")];
        let files = files.map(|(path, text)| (path.to_owned(), text.to_owned()));
        check("sample", &[&["top"], &["low", "peer"]], true, &arrows(&files))
    };
    assert!(sample("").is_empty());
    assert!(sample("use crate::top::T;")[0].contains("low uses top, which is one layer above it"));
    assert!(sample("fn f() { crate::peer::g() }")[0].contains("circle: low, peer"));
    let unknown = [("new.rs".to_owned(), String::new())];
    assert!(check("sample", &[&["top"]], true, &arrows(&unknown))[0].contains("in no layer"));
}
