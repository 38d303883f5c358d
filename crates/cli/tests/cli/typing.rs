//! What can be typed, and what comes of typing it wrongly.

use crate::workbench::Workbench;

#[test]
fn help_lists_the_commands_there_are_and_no_others() {
    let ran = Workbench::fresh().run(&["--help"]);
    assert_eq!(ran.code, 0);
    insta::assert_snapshot!(ran.stdout);
}

#[test]
fn commands_of_later_versions_are_unknown() {
    for args in [&["doctor"][..], &["hold", "postpone"], &["serve", "--role", "dispatcher"], &[]] {
        assert_eq!(Workbench::fresh().run(args).code, 2, "{args:?}");
    }
}

#[test]
fn a_listing_is_one_array_on_stdout_and_hints_go_to_stderr() {
    let bench = Workbench::fresh();
    for noun in ["connection", "record", "event", "hold", "review", "subscription"] {
        assert_eq!(bench.json(&[noun, "list"]), serde_json::json!([]), "{noun}");
        let table = bench.run(&[noun, "list"]);
        assert_eq!((table.code, table.stdout.as_str()), (0, ""), "{noun}");
        assert!(!table.stderr.is_empty(), "{noun}: nothing says what to do");
    }
}

#[test]
fn a_filter_takes_only_words_there_are() {
    let bench = Workbench::fresh();
    assert_eq!(bench.run(&["record", "list", "--status", "active"]).code, 0);
    let wrong = bench.run(&["record", "list", "--status", "enabled"]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.stderr.contains("inactive"), "{}", wrong.stderr);
}

#[test]
fn what_is_not_there_is_a_failure_that_says_where_to_look() {
    let bench = Workbench::fresh();
    let nothing = "0198c0de-0000-7000-8000-000000000001";
    for args in [
        &["connection", "show", "nobody"][..],
        &["connection", "sync", "nobody"],
        &["rule", "list", "nobody"],
        &["record", "show", "nobody@contoso.example"],
        &["event", "show", nothing],
        &["hold", "show", nothing],
        &["hold", "approve", nothing, "--reason", "they left"],
        &["hold", "reject", nothing, "--reason", "a mistake"],
        &["review", "show", nothing],
        &["review", "settle", nothing, "keep"],
    ] {
        let ran = bench.run(args);
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.starts_with("error: there is no") && ran.stderr.contains("`lockstep "), "{}", ran.stderr);
    }
}

#[test]
fn d6_an_answer_to_a_hold_wants_a_reason() {
    let nothing = "0198c0de-0000-7000-8000-000000000001";
    for args in [&["hold", "approve", nothing][..], &["hold", "reject", nothing, "--reason", " "]] {
        let ran = Workbench::fresh().run(args);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("reason"), "{}", ran.stderr);
    }
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let bench = Workbench::fresh();
    bench.write("lockstep.toml", "store_url = \"sqlite://./file.db\"\n");
    assert_eq!(bench.run(&["migrate"]).code, 0);
    assert!(bench.path("file.db").exists());

    let by_environment =
        bench.command().arg("migrate").env("LOCKSTEP_STORE_URL", "sqlite://./env.db").output().unwrap();
    assert!(by_environment.status.success() && bench.path("env.db").exists());

    let by_flag = bench
        .command()
        .args(["migrate", "--store-url", "sqlite://./flag.db"])
        .env("LOCKSTEP_STORE_URL", "sqlite://./unused.db")
        .output()
        .unwrap();
    assert!(by_flag.status.success() && bench.path("flag.db").exists() && !bench.path("unused.db").exists());
}

#[test]
fn a_settings_file_with_an_unknown_key_is_refused_with_its_line() {
    let bench = Workbench::fresh();
    bench.write("lockstep.toml", "admin_bind = \"127.0.0.1:0\"\nstor_url = \"sqlite://./x.db\"\n");
    let ran = bench.run(&["migrate"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("line 2") && ran.stderr.contains("stor_url"), "{}", ran.stderr);
    assert_eq!(bench.run(&["migrate", "--config", "missing.toml"]).code, 2);
}

#[test]
fn g_26_graph_over_http_is_for_this_machine_only() {
    let bench = Workbench::fresh();
    let url = ["--graph-url", "http://graph.example", "--login-url", "http://graph.example"];
    let ran = bench.run(&[&["connection", "list"], &url[..]].concat());
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("https"), "{}", ran.stderr);
    assert_eq!(bench.run(&["connection", "list", "--public-url", "http://sync.example"]).code, 2);
}

#[test]
fn another_key_is_refused_once_the_store_has_one() {
    let bench = Workbench::fresh();
    assert_eq!(bench.run(&["record", "list"]).code, 0);
    let other = bench.run(&["record", "list", "--key-file", "other-key"]);
    assert_eq!(other.code, 1);
    assert!(other.stderr.contains("LOCKSTEP_KEY_FILE"), "{}", other.stderr);
}

#[test]
fn a_store_or_queue_that_cannot_be_used_is_named_by_its_setting_and_never_with_its_password() {
    let bench = Workbench::fresh();
    let away = "postgres://lockstep:hunter2@127.0.0.1:1/lockstep";
    let store = bench.run(&["record", "list", "--store-url", away]);
    let queue = bench.run(&["serve", "--queue-url", "kafka://lockstep:hunter2@broker"]);
    for (ran, names) in [(store, "LOCKSTEP_STORE_URL"), (queue, "queue URL")] {
        assert_eq!(ran.code, 1);
        assert!(ran.stderr.contains(names) && !ran.stderr.contains("hunter2"), "{}", ran.stderr);
    }
}

/// M10: "The interface says that Microsoft's own app assignment does not count nested members."
#[test]
fn m10_the_help_says_how_microsofts_own_assignment_differs() {
    for command in [["connection", "add", "--help"], ["rule", "plan", "--help"]] {
        let help = Workbench::fresh().run(&command).stdout;
        assert!(help.contains("Microsoft's own app assignment does not count them"), "{command:?}: {help}");
    }
}
