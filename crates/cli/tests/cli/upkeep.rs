//! A connection looked after: paused and resumed, its subscriptions made anew.

use crate::workbench::{Team, blocking};

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_paused_and_goes_on() {
    let team = Team::start().await;
    blocking(move || {
        let bench = team.connected();
        let paused = bench.run(&["connection", "pause", "contoso"]);
        assert!(paused.code == 0 && paused.stdout.contains("connection resume contoso"), "{}", paused.stderr);
        let shown = bench.json(&["connection", "show", "contoso"]);
        assert_eq!(
            (&shown["state"], &shown["remedy"]),
            (&"paused".into(), &"lockstep connection resume contoso".into())
        );
        let waiting = bench.run(&["connection", "sync", "contoso", "--wait"]);
        assert!(waiting.code == 1 && waiting.stderr.contains("resume"), "{}", waiting.stderr);
        assert_eq!(bench.run(&["connection", "pause", "contoso"]).code, 0, "twice is no mistake");

        assert_eq!(bench.json(&["connection", "resume", "contoso"])["state"], "active");
        let again = bench.run(&["connection", "resume", "contoso"]);
        assert!(again.code == 0 && again.stdout.contains("not paused"), "{}", again.stdout);
        for verb in ["pause", "resume"] {
            let nobody = bench.run(&["connection", verb, "nobody"]);
            assert!(nobody.code == 1 && nobody.stderr.contains("connection list"), "{}", nobody.stderr);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn th_03_subscriptions_are_recreated_by_a_running_serve() {
    let team = Team::start().await;
    blocking(move || {
        let bench = team.connected();
        let alone = bench.run(&["subscription", "recreate"]);
        assert!(alone.code == 1 && alone.stderr.contains("lockstep serve"), "{}", alone.stderr);

        let serving = bench.serve();
        assert_eq!(bench.run(&["connection", "sync", "contoso", "--wait"]).code, 0);
        let before = team.tenant.subscriptions();
        assert_eq!(before.len(), 2);
        let anew = bench.json(&["subscription", "recreate"]);
        assert_eq!(anew.as_array().unwrap().len(), 2, "{anew}");
        assert!(anew.as_array().unwrap().iter().all(|one| one["status"] == "active"), "{anew}");
        let now = team.tenant.subscriptions();
        assert!(now.len() == 2 && now.iter().all(|id| !before.contains(id)));

        let unknown = bench.run(&["subscription", "recreate", "0198c0de-0000-7000-8000-000000000001"]);
        assert!(unknown.code == 1 && unknown.stderr.contains("no active subscription"), "{}", unknown.stderr);
        serving.terminate();
    })
    .await;
}
