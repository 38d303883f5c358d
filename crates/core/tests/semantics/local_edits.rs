//! Local edits (Y4).

use lockstep_core::by_hand::{Editor, FieldEdit, edit};
use lockstep_core::rules_file::RulesFile;
use serde_json::{Value, json};

use crate::world::*;

/// An admin edits Ada's record now.
fn edits(world: &mut World, values: &[(&str, Option<&str>)]) {
    let known = world.user.profile.present().map(|profile| profile.properties.clone());
    let editor = Editor { by: "grace".to_owned(), at: world.now, known };
    let of = |(field, value): &(&str, Option<&str>)| FieldEdit {
        field: (*field).to_owned(),
        value: value.map(str::to_owned),
    };
    let values: Vec<FieldEdit> = values.iter().map(of).collect();
    world.record = Some(edit(world.record(), &values, &world.fields, &editor).expect("a good edit"));
}

fn edited_ada() -> World {
    let mut world = World::with_staff_ada();
    edits(&mut world, &[("job_title", Some("Edited here")), ("email", Some("countess@fabrikam.example"))]);
    edits(&mut world, &[("display_name", Some("The Countess")), ("username", Some("countess")), ("phone", None)]);
    world
}

fn keeps_all(world: &World) {
    let record = world.record();
    let names = [&record.email, &record.username, &record.display_name].map(|name| name.as_deref());
    assert_eq!(names, [Some("countess@fabrikam.example"), Some("countess"), Some("The Countess")]);
    assert_eq!((&record.fields["job_title"], record.fields.get("phone")), (&json!("Edited here"), None));
    assert_eq!(record.edits.len(), 5, "each with who and when");
}

sentences! {
    stays: "A field edited here keeps the edit until that directory user changes in Entra;" => {
        let mut world = edited_ada();
        // A settle, a replay, a sweep under other rules, a listing, a move from group to group: the user is the same.
        for groups in [&[STAFF][..], &[ADMINS], &[STAFF]] {
            world.pass(3600);
            world.reads(json!({}), groups);
            world.settles();
            keeps_all(&world);
        }
        world.lists(json!({}), &[STAFF]);
        world.settles();
        keeps_all(&world);
        world.rules.version += 1;
        assert!(world.settles().steps.is_empty());
        // Deleted and restored as they were.
        world.reads_404(true);
        world.settles();
        world.pass(3600);
        world.reads(json!({}), &[STAFF]);
        world.settles();
        assert!(world.is_active());
        keeps_all(&world);
    }

    /// What Graph does not mention is no change (G-09).
    unmentioned: "until that directory user changes in Entra" => {
        let mut world = edited_ada();
        let mut sparse = user_json(json!({}));
        sparse.remove("city");
        sparse.remove("jobTitle");
        let sparse = lockstep_core::profile::Profile::from_graph(None, sparse).expect("a user");
        let found = lockstep_core::mirror::ProfileFound::Present(sparse.into());
        world.merge(Some((lockstep_core::mirror::Source::ById, found)), None);
        world.settles();
        keeps_all(&world);
    }

    /// Who leads them is the user's; what that person is called is not, nor that it is read for the first time.
    their_manager: "until that directory user changes in Entra" => {
        let manager = |id: &str, name: &str| json!({"manager": {"id": id, "displayName": name}});
        let mut world = edited_ada();
        world.reads(manager("g", "Grace"), &[STAFF]);
        world.settles();
        keeps_all(&world);
        edits(&mut world, &[("job_title", Some("Once more"))]);
        world.reads(manager("g", "Grace Hopper"), &[STAFF]);
        world.settles();
        assert_eq!(world.record().fields["job_title"], "Once more");
        world.reads(manager("l", "Linus"), &[STAFF]);
        world.settles();
        assert_eq!(world.record().fields["job_title"], "Agent", "another manager is a change of the user");
    }

    overwritten: "then Entra's values overwrite it." => {
        // Whatever of the user changes, all its edits end: Entra is the source of truth.
        for changes in [json!({"city": "Oslo"}), json!({"jobTitle": "Lead"}), json!({"accountEnabled": false})] {
            let mut world = edited_ada();
            world.reads(changes.clone(), &[STAFF]);
            world.settles();
            let record = world.record();
            let names = [&record.email, &record.username, &record.display_name].map(|name| name.as_deref());
            assert_eq!(names, [Some("Ada@fabrikam.example"), Some("Ada"), Some("Ada Example")], "{changes}");
            let title = changes.get("jobTitle").cloned().unwrap_or(json!("Agent"));
            assert_eq!((&record.fields["job_title"], &record.fields["phone"]), (&title, &json!("+1 555 0100")));
            assert!(record.edits.is_empty());
            // Once: the same again changes nothing, and a later edit holds anew.
            world.reads(changes.clone(), &[STAFF]);
            assert!(world.settles().steps.is_empty());
            edits(&mut world, &[("job_title", Some("Once more"))]);
            world.reads(changes, &[STAFF]);
            world.settles();
            assert_eq!(world.record().fields["job_title"], "Once more");
        }
    }

    /// An edit that Entra has nothing to say against stays, and is still shown as one.
    blank: "A blank source value does not erase a field unless that field's mapping says `clear_when_blank`." => {
        let mut world = World::with_staff_ada();
        edits(&mut world, &[("city", Some("Oslo"))]);
        world.reads(json!({"jobTitle": "Lead"}), &[STAFF]);
        world.settles();
        assert_eq!(world.record().fields["city"], "Oslo");
        assert_eq!(world.record().edits.keys().collect::<Vec<_>>(), ["city"]);
        world.reads(json!({"jobTitle": "Lead", "city": "Oslo"}), &[STAFF]);
        world.settles();
        assert!(world.record().edits.is_empty(), "Entra says the same now");
        world.reads(json!({"jobTitle": "Lead", "city": "Bergen"}), &[STAFF]);
        world.settles();
        assert_eq!(world.record().fields["city"], "Bergen");
    }

    /// G-11: a value that cannot be used overwrites nothing, and ends no edit.
    unusable: "then Entra's values overwrite it" => {
        let mut world = edited_ada();
        world.reads(json!({"jobTitle": "bell\u{7}"}), &[STAFF]);
        world.settles();
        assert_eq!(world.record().fields["job_title"], "Edited here");
        world.reads(json!({"jobTitle": "Lead"}), &[STAFF]);
        world.settles();
        assert_eq!(world.record().fields["job_title"], "Lead");
    }

    /// Nobody was linked: whatever Entra says later is news.
    before_the_link: "then Entra's values overwrite it" => {
        let mut world = edited_ada();
        for edit in world.record_mut().edits.values_mut() {
            edit.known = None;
        }
        world.reads(json!({}), &[STAFF]);
        world.settles();
        assert_eq!(world.record().fields["job_title"], "Agent");
    }

    local_only: "a field can be marked local-only in the mapping" => {
        let mut world = World::with_staff_ada();
        world.fields = RulesFile::parse("[fields]\njob_title = { from = \"user.jobTitle\", local_only = true }\n").expect("a file").fields;
        edits(&mut world, &[("job_title", Some("Edited here"))]);
        world.reads(json!({"jobTitle": "Lead", "city": "Oslo"}), &[STAFF]);
        world.settles();
        assert_eq!(world.record().fields["job_title"], "Edited here");
        let value: Option<&Value> = world.record().fields.get("city");
        assert_eq!(value, Some(&json!("Oslo")));
    }
}
