//! Conformance with Spin's manifests: each one is served, or refused with a message that names the key.
//!
//! The cases here are modeled on Spin's templates, examples and documentation. With `SPIN_SOURCE` set to a checkout of
//! Spin, all of its manifests are read as well.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::Manifest;

/// The parts of a manifest, so that a case says only what is special about it.
struct Parts {
    application: &'static str,
    variables: &'static str,
    trigger: &'static str,
    component: &'static str,
}

/// What `spin new` writes for a component in Rust.
const TEMPLATE: Parts = Parts {
    application: r#"
        name = "hello-world"
        version = "0.1.0"
        authors = ["Jisu Kim <jisu@example.com>"]
        description = """#,
    variables: "",
    trigger: r#"
        [[trigger.http]]
        route = "/..."
        component = "hello-world""#,
    component: r#"
        [component.hello-world]
        source = "target/wasm32-wasip2/release/hello_world.wasm"
        allowed_outbound_hosts = []
        [component.hello-world.build]
        command = "cargo build --target wasm32-wasip2 --release"
        watch = ["src/**/*.rs", "Cargo.toml"]"#,
};

impl Parts {
    fn parse(&self) -> Result<Manifest, String> {
        let text = format!(
            "#:schema https://schemas.spinframework.dev/spin/manifest-v2/latest.json\nspin_manifest_version = 2\n\
             [application]\n{}\n[variables]\n{}\n{}\n{}\n",
            self.application, self.variables, self.trigger, self.component
        );
        parse(&text)
    }
}

fn parse(text: &str) -> Result<Manifest, String> {
    Manifest::parse(text, Path::new("")).map_err(|error| format!("{error:#}"))
}

fn component(keys: &'static str) -> Parts {
    Parts {
        component: keys,
        ..TEMPLATE
    }
}

fn trigger(trigger: &'static str) -> Parts {
    Parts { trigger, ..TEMPLATE }
}

/// The template with a second trigger, whose component is inline unless the keys name one.
fn beside(keys: &str) -> Parts {
    let triggers = format!(
        "[[trigger.http]]\nroute = \"/...\"\ncomponent = \"hello-world\"\n\
         [[trigger.http]]\ncomponent.source = \"a.wasm\"\n{keys}"
    );
    trigger(triggers.leak())
}

#[test]
fn what_this_host_can_serve_is_accepted() {
    let cases = [
        ("the template of `spin new`", TEMPLATE),
        (
            "all descriptive keys of the application",
            Parts {
                application: r#"
                    name = "a"
                    version = "1.2.3"
                    authors = []
                    targets = ["spin-up:3.3", "spinkube:0.4"]
                    [application.tool.lint]
                    level = "high"
                    [application.trigger.http]
                    base = "/""#,
                ..TEMPLATE
            },
        ),
        (
            "all keys of a variable",
            Parts {
                variables: r#"
                    greeting = { default = "", description = "Shown first" }
                    token = { required = true, secret = true }
                    level_2 = { default = "x", required = false, secret = false }"#,
                ..TEMPLATE
            },
        ),
        (
            "an inline component",
            Parts {
                component: "",
                ..trigger(
                    r#"
                    [[trigger.http]]
                    id = "front"
                    route = "/..."
                    component = { source = "front.wasm", environment = { LEVEL = "1" } }"#,
                )
            },
        ),
        (
            "the usual executor",
            trigger(
                r#"
                [[trigger.http]]
                id = "front"
                route = "/..."
                executor = { type = "http" }
                component = "hello-world""#,
            ),
        ),
        (
            "keys of the build, and empty lists",
            component(
                r#"
                [component.hello-world]
                source = "hello.wasm"
                description = "Says hello"
                files = []
                exclude_files = ["**/secret"]
                key_value_stores = []
                sqlite_databases = []
                ai_models = []
                targets = ["spin-up:3.3"]
                dependencies_inherit_configuration = false
                environment = { LEVEL = "1", EMPTY = "" }
                [component.hello-world.dependencies]
                [component.hello-world.build]
                command = ["make", "make check"]
                workdir = "hello"
                [component.hello-world.tool.clean]
                command = "cargo clean"
                [component.hello-world.profile.debug]
                source = "debug.wasm"
                build.command = "make debug""#,
            ),
        ),
        (
            "a component of files beside it",
            Parts {
                component: r#"
                    [component.hello-world]
                    source = "hello.wasm"
                    [component.files]
                    source = "files.wasm"
                    environment = { LEVEL = "1" }"#,
                ..trigger(
                    r#"
                    [[trigger.http]]
                    route = "/files/v-1/..."
                    component = "files"
                    [[trigger.http]]
                    route = "/..."
                    component = "hello-world"
                    [[trigger.http]]
                    route = "/files/..."
                    component = { source = "other.wasm" }"#,
                )
            },
        ),
        (
            "variables in templates",
            Parts {
                variables: r#"database_host = { default = "localhost" }"#,
                ..component(
                    r#"
                    [component.hello-world]
                    source = "hello.wasm"
                    allowed_outbound_hosts = ["postgres://{{ database_host }}", "https://example.com", "http://*.spin.internal"]
                    variables = { url = "postgres://{{database_host}}/db" }"#,
                )
            },
        ),
    ];
    for (name, manifest) in cases {
        if let Err(error) = manifest.parse() {
            panic!("{name}: {error}");
        }
    }
}

#[test]
fn what_this_host_cannot_serve_is_refused_by_name() {
    let cases = [
        (
            "base",
            Parts {
                application: "name = \"a\"\n[application.trigger.http]\nbase = \"/shop\"",
                ..TEMPLATE
            },
        ),
        (
            "address",
            Parts {
                application: "name = \"a\"\n[application.trigger.redis]\naddress = \"redis://localhost\"",
                ..TEMPLATE
            },
        ),
        (
            "[[trigger.redis]]",
            trigger("[[trigger.redis]]\nchannel = \"orders\"\ncomponent = \"hello-world\""),
        ),
        (
            "[[trigger.timer]]",
            trigger(
                "[[trigger.http]]\nroute = \"/...\"\ncomponent = \"hello-world\"\n\
             [[trigger.timer]]\ninterval_secs = 6\ncomponent = \"hello-world\"",
            ),
        ),
        ("[[trigger.http]]", trigger("")),
        ("route", beside("route = \"/admin\"")),
        ("route", beside("route = \"/...\"")),
        ("route", beside("route = \"//...\"")),
        ("route", beside("route = \"/:user/...\"")),
        (
            "route",
            beside(
                "route = \"/files/...\"\n[[trigger.http]]\nroute = \"/files/...\"\ncomponent = { source = \"a.wasm\" }",
            ),
        ),
        (
            "variables",
            beside("route = \"/a/...\"\ncomponent.variables = { a = \"b\" }"),
        ),
        (
            "allowed_outbound_hosts",
            beside("route = \"/a/...\"\ncomponent.allowed_outbound_hosts = [\"https://a.example\"]"),
        ),
        (
            "tool.sugang-host",
            beside("route = \"/a/...\"\ncomponent.tool.sugang-host.probes = [\"/a\"]"),
        ),
        (
            "component",
            trigger(
                "[[trigger.http]]\nroute = \"/...\"\ncomponent = \"hello-world\"\n\
             [[trigger.http]]\nroute = \"/a/...\"\ncomponent = \"hello-world\"",
            ),
        ),
        (
            "route",
            trigger("[[trigger.http]]\nroute = \"/files/...\"\ncomponent = \"hello-world\""),
        ),
        (
            "route",
            trigger("[[trigger.http]]\nroute = \"/hello\"\ncomponent = \"hello-world\""),
        ),
        (
            "route",
            trigger("[[trigger.http]]\nroute = \"/users/:user/...\"\ncomponent = \"hello-world\""),
        ),
        (
            "route",
            trigger("[[trigger.http]]\nroute = { private = true }\ncomponent = \"hello-world\""),
        ),
        ("route", trigger("[[trigger.http]]\ncomponent = \"hello-world\"")),
        ("component", trigger("[[trigger.http]]\nroute = \"/...\"")),
        (
            "component",
            trigger("[[trigger.http]]\nroute = \"/...\"\ncomponent = \"other\""),
        ),
        (
            "static_response",
            trigger(
                "[[trigger.http]]\nroute = \"/...\"\ncomponent = \"hello-world\"\nstatic_response = { status_code = 404 }",
            ),
        ),
        (
            "executor",
            trigger("[[trigger.http]]\nroute = \"/...\"\ncomponent = \"hello-world\"\nexecutor = { type = \"wagi\" }"),
        ),
        (
            "components",
            trigger(
                "[[trigger.http]]\nroute = \"/...\"\ncomponent = \"hello-world\"\ncomponents.extra = \"hello-world\"",
            ),
        ),
        (
            "dependencies",
            trigger(
                "[[trigger.http]]\nroute = \"/...\"\ncomponent = \"hello-world\"\n\
             dependencies.middleware = [{ component = \"log\" }]",
            ),
        ),
        (
            "[component.other]",
            component("[component.hello-world]\nsource = \"a.wasm\"\n[component.other]\nsource = \"b.wasm\""),
        ),
        (
            "source",
            component("[component.hello-world]\nsource = { url = \"https://x/a.wasm\", digest = \"sha256:00\" }"),
        ),
        (
            "source",
            component(
                "[component.hello-world.source]\npackage = \"a:b\"\nversion = \"1.0.0\"\nregistry = \"r.example\"",
            ),
        ),
        ("source", component("[component.hello-world]\ndescription = \"\"")),
        (
            "files",
            component("[component.hello-world]\nsource = \"a.wasm\"\nfiles = [\"assets/*\"]"),
        ),
        (
            "files",
            component(
                "[component.hello-world]\nsource = \"a.wasm\"\nfiles = [{ source = \"assets\", destination = \"/\" }]",
            ),
        ),
        (
            "key_value_stores",
            component("[component.hello-world]\nsource = \"a.wasm\"\nkey_value_stores = [\"default\"]"),
        ),
        (
            "sqlite_databases",
            component("[component.hello-world]\nsource = \"a.wasm\"\nsqlite_databases = [\"default\"]"),
        ),
        (
            "ai_models",
            component("[component.hello-world]\nsource = \"a.wasm\"\nai_models = [\"llama2-chat\"]"),
        ),
        (
            "allowed_http_hosts",
            component("[component.hello-world]\nsource = \"a.wasm\"\nallowed_http_hosts = [\"x.example\"]"),
        ),
        (
            "dependencies",
            component(
                "[component.hello-world]\nsource = \"a.wasm\"\n[component.hello-world.dependencies]\n\"a:b/c\" = \"^1.2\"",
            ),
        ),
        ("sources", component("[component.hello-world]\nsources = \"a.wasm\"")),
        (
            "cpu_bounds",
            component("[component.hello-world]\nsource = \"a.wasm\"\ntool.sugang-host.cpu_bounds = []"),
        ),
        (
            "Greeting",
            Parts {
                variables: "Greeting = { default = \"\" }",
                ..TEMPLATE
            },
        ),
        (
            "greeting",
            Parts {
                variables: "greeting = {}",
                ..TEMPLATE
            },
        ),
        (
            "greeting",
            Parts {
                variables: "greeting = { required = true, default = \"\" }",
                ..TEMPLATE
            },
        ),
        (
            "grating",
            component("[component.hello-world]\nsource = \"a.wasm\"\nvariables = { greeting = \"{{ grating }}\" }"),
        ),
    ];
    for (key, manifest) in cases {
        let error = manifest.parse().expect_err(key);
        assert!(error.contains(&format!("`{key}`")), "{key}: {error}");
    }
}

#[test]
fn other_versions_are_refused() {
    for text in [
        "",
        "spin_version = \"1\"\nname = \"a\"\ntrigger = { type = \"http\" }",
        "spin_manifest_version = \"1\"\nname = \"a\"\n[[component]]\nid = \"a\"",
        "spin_manifest_version = 1",
        "spin_manifest_version = 3\n[application]\nname = \"a\"",
    ] {
        let error = parse(text).expect_err(text);
        assert!(error.contains("`spin_manifest_version` must be 2"), "{text}: {error}");
    }
}

/// All manifests of a checkout of Spin, its templates filled in as `spin new` does by default.
#[test]
fn the_manifests_of_a_spin_checkout_are_served_or_refused_by_name() {
    let Some(source) = std::env::var_os("SPIN_SOURCE") else {
        println!("left out: Spin's own manifests; set SPIN_SOURCE to a checkout of github.com/spinframework/spin");
        return;
    };
    let mut manifests = Vec::new();
    for folder in [
        "docs",
        "examples",
        "templates",
        "tests",
        "crates/manifest/tests",
        "crates/loader/tests",
    ] {
        find_manifests(&Path::new(&source).join(folder), &mut manifests);
    }
    assert!(manifests.len() >= 40, "{} manifests in {source:?}", manifests.len());
    let mut served = Vec::new();
    for path in manifests {
        let text = fill_in(&fs::read_to_string(&path).expect("a text"));
        let name = path.strip_prefix(&source).expect("below it").display().to_string();
        match parse(&text) {
            Ok(_) => served.push(name),
            Err(error) => assert!(names_a_key(&error, &text), "{name}: {error}"),
        }
    }
    println!("served: {}", served.join(", "));
    for name in [
        "templates/http-rust/content/spin.toml",
        "templates/http-go/content/spin.toml",
    ] {
        assert!(served.iter().any(|served| served == name), "{name} is not served");
    }
}

fn find_manifests(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_manifest = path.extension().is_some_and(|extension| extension == "toml")
            && fs::read_to_string(&path).is_ok_and(|text| text.contains("spin_manifest_version"));
        if path.is_dir() {
            find_manifests(&path, found);
        } else if is_manifest {
            found.push(path);
        }
    }
}

/// Fills in the placeholders of Spin's templates (`{{name | filter}}`); the variables of a manifest are left.
fn fill_in(text: &str) -> String {
    let mut text = text.to_owned();
    for (placeholder, value) in [
        ("{{project-name | kebab_case}}", "hello-world"),
        ("{{project-name | snake_case}}", "hello_world"),
        ("{{http-path | http_wildcard}}", "/..."),
        ("{{ http-path | http_wildcard }}", "/..."),
        ("{{http-path}}", "/..."),
        ("{{ redirect-from }}", "/"),
        ("{{ redirect-to }}", "/there"),
        ("{{ files-path }}", "assets"),
        ("{{project-description}}", ""),
        ("{{authors}}", "Jisu Kim"),
        ("{{redis-address}}", "redis://localhost"),
        ("{{redis-channel}}", "orders"),
    ] {
        text = text.replace(placeholder, value);
    }
    text
}

/// Whether a message quotes a key of the manifest, or one that is missing there.
fn names_a_key(error: &str, manifest: &str) -> bool {
    let quoted = error.split('`').skip(1).step_by(2);
    let mut words = quoted.flat_map(|key| key.split(|char: char| !(char.is_alphanumeric() || "_-".contains(char))));
    let missing = ["component", "route", "source", "spin_manifest_version", "trigger"];
    words.any(|word| !word.is_empty() && (manifest.contains(word) || missing.contains(&word)))
}
