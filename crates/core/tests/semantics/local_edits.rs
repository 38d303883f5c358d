//! Local edits (Y4).

use lockstep_core::rules_file::RulesFile;
use serde_json::json;

use crate::world::*;

sentences! {
    overwritten: "then Entra's values overwrite it" => {
        let mut world = World::with_staff_ada();
        world.record_mut().fields.insert("job_title".to_owned(), json!("Edited here"));
        world.reads(json!({"jobTitle": "Lead"}), &[STAFF]);
        world.settles();
        assert_eq!(world.record().fields["job_title"], "Lead");
    }

    local_only: "a field can be marked local-only in the mapping" => {
        let mut world = World::with_staff_ada();
        world.fields = RulesFile::parse("[fields]\njob_title = { local_only = true }\n").expect("a file").fields;
        world.record_mut().fields.insert("job_title".to_owned(), json!("Edited here"));
        world.reads(json!({"jobTitle": "Lead"}), &[STAFF]);
        assert!(world.settles().steps.is_empty());
        assert_eq!(world.record().fields["job_title"], "Edited here");
    }
}
