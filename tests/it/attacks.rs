//! TH-08 to TH-12: each attack is tried from the simulator to the record, and nothing comes of it.

use std::time::Duration;

use lockstep_core::field::FieldMap;
use lockstep_core::hint::{Claim, Hint, HintMessage, Subject, VERSION};
use lockstep_core::record::{Kind, Status};
use lockstep_core::review::{Choice, ReviewKind};
use lockstep_core::rule::{Grantable, Rule};
use lockstep_core::settings::{Defaults, Settings};
use lockstep_core::{ConnectionId, ObjectId, SubscriptionId};
use lockstep_simulator::{NewGroup, NewUser, Tenant, TenantSpec};
use lockstep_store::import::ImportedRecord;
use lockstep_store::view::record::RecordView;
use lockstep_store::view::review::{ReviewFilter, ReviewView};
use lockstep_store::{Admin, Chosen, Connection, MirroredPerson, NewConnection, NotSettled, People, StoreError};
use lockstep_testkit::{World, connection_to};
use lockstep_tests::{Company, assert_in};
use serde_json::{Value, json};
use uuid::Uuid;

/// Another company on the same installation, whose admin is not to be trusted.
struct Neighbour {
    tenant: Tenant,
    connection: Connection,
    staff: Uuid,
}

impl Neighbour {
    async fn of(world: &World, realm: Option<&str>) -> Self {
        let spec = TenantSpec {
            domain: "fabrikam.example".to_owned(),
            display_name: "Fabrikam".to_owned(),
            ..TenantSpec::default()
        };
        let tenant = world.simulator.add_tenant(spec);
        let realm = realm.map(str::to_owned);
        let new = NewConnection { name: "fabrikam".to_owned(), realm, ..connection_to(&tenant) };
        let connection = world.store.add_connection(new).await.expect("the connection is added");
        let staff = tenant.create_group(NewGroup::named("Staff"));
        Self { tenant, connection, staff }
    }

    /// Puts a rule on this group in force, and syncs.
    async fn maps(&self, world: &World, group: Uuid) {
        let rule = Self::rule(group);
        let (fields, defaults, settings) = (FieldMap::default(), Defaults::default(), Settings::default());
        let applied = world.store.apply_rules(self.connection.id, vec![rule], &fields, &defaults, &settings, &[]).await;
        applied.expect("the rules are applied");
        let task = world.store.start_full_sync(self.connection.id).await.expect("the sync starts");
        world.finished(task).await;
        world.settle().await;
    }

    fn rule(group: Uuid) -> Rule {
        Rule {
            group: ObjectId(group),
            order: 10,
            kind: Kind::Employee,
            role: Some("Technician".to_owned()),
            permissions: Vec::new(),
            nested: true,
            exclude: false,
            group_name: "Staff".to_owned(),
            group_created_at: None,
        }
    }

    fn hires(&self, user: NewUser) -> Uuid {
        let user = self.tenant.create_user(user);
        self.tenant.add_member(self.staff, user).expect("the group exists");
        user
    }
}

async fn person(world: &World, connection: &Connection, user: Uuid) -> Option<MirroredPerson> {
    let found = world.store.load_people(connection, People::Ids(&[ObjectId(user)])).await;
    found.expect("the store answers").into_iter().next()
}

/// A hint as an authentic notification of this connection leads to.
async fn told(world: &World, connection: ConnectionId, user: Uuid, claim: Claim) {
    let subject = Subject::User { id: ObjectId(user), claim };
    let message = HintMessage {
        version: VERSION,
        id: Uuid::now_v7(),
        connection,
        received_at: world.store.now(),
        items: vec![Hint { subscription: SubscriptionId(Uuid::now_v7()), subject }],
    };
    world.queue.publish(&message).await.expect("the queue takes it");
    world.settle().await;
}

async fn question(world: &World, user: Uuid, kind: ReviewKind) -> ReviewView {
    let reviews = world.store.list_reviews(&ReviewFilter::default()).await.expect("a listing");
    let about = |review: &ReviewView| review.entra_id.0 == user && review.kind == kind;
    reviews.into_iter().find(about).expect("a question about this person")
}

async fn named(world: &World, email: &str) -> RecordView {
    world.store.lookup_record_view(email).await.expect("the store answers").expect("the record is there")
}

/// Everything of a record but when it was last confirmed.
fn substance(record: &RecordView) -> Value {
    let mut json = serde_json::to_value(record).expect("JSON");
    json.as_object_mut().expect("an object").remove("verified_at");
    json
}

/// The boss, as the application knows him.
fn boss(privileged: bool) -> ImportedRecord {
    ImportedRecord {
        line: 1,
        kind: Kind::Employee,
        email: Some("boss@contoso.example".to_owned()),
        username: Some("boss".to_owned()),
        display_name: Some("The Boss".to_owned()),
        fields: serde_json::Map::new(),
        host_id: Some("1".to_owned()),
        in_use: true,
        role: Some("Owner".to_owned()),
        permissions: Vec::new(),
        privileged,
    }
}

async fn with_boss(world: &World, privileged: bool) -> Company {
    let company = Company::connected(world).await;
    world.store.import_records(&world.connection, &[boss(privileged)]).await.expect("imported");
    company
}

/// TH-08: a notification of one tenant names a user of another one, and claims that they are gone.
#[tokio::test(flavor = "multi_thread")]
async fn th08_a_notification_of_one_tenant_says_nothing_about_a_user_of_another() {
    let world = World::start().await;
    let company = Company::connected(&world).await;
    let neighbour = Neighbour::of(&world, None).await;
    let ada = world.hire("Ada Lovelace", &[company.staff]);
    let eve = neighbour.hires(NewUser::named("Eve Neighbour"));
    neighbour.maps(&world, neighbour.staff).await;

    told(&world, neighbour.connection.id, ada, Claim::Deleted).await;
    told(&world, world.connection.id, eve, Claim::Deleted).await;
    world.pass(Duration::from_secs(200)).await;

    assert_in(world.record(ada).await.as_ref(), "Technician");
    let hers = person(&world, &neighbour.connection, eve).await.and_then(|person| person.record);
    assert_in(hers.as_ref(), "Technician");
    assert!(person(&world, &world.connection, eve).await.is_none(), "nothing of her is kept there");
    assert!(person(&world, &neighbour.connection, ada).await.is_none());
    assert_eq!(world.records().await.len(), 2);
    world.stop().await;
}

/// TH-09: people who can set `mail` try each way to a record that was there before them.
#[tokio::test(flavor = "multi_thread")]
async fn th09_nobody_takes_over_a_record_by_setting_an_address() {
    let world = World::start().await;
    let company = with_boss(&world, false).await;
    let before = substance(&named(&world, "boss@contoso.example").await);
    // The boss himself, in no mapped group: the mirror does not know him.
    world.tenant.create_user(NewUser::named("boss"));
    let hired = |user: NewUser| {
        let user = world.tenant.create_user(user);
        world.tenant.add_member(company.staff, user).expect("the group exists");
        user
    };
    let mail = json!("boss@contoso.example");
    let by_mail = hired(NewUser::named("Mallory Mail").with("mail", mail.clone()));
    let by_alias = hired(NewUser::named("Mallory Alias").with("proxyAddresses", json!(["smtp:boss@contoso.example"])));
    let guest = hired(NewUser::guest("Mallory Guest", "mallory@elsewhere.example").with("mail", mail.clone()));
    let later = hired(NewUser::named("Mallory Later"));
    world.settle().await;
    world.tenant.patch_user(later, json!({ "mail": mail })).expect("exists");
    world.pass(Duration::from_secs(6)).await;
    world.pass(Duration::from_secs(61)).await;

    for user in [by_mail, by_alias, guest] {
        assert!(world.record(user).await.is_none(), "nobody came in by his address");
    }
    for user in [by_mail, by_alias] {
        question(&world, user, ReviewKind::Link).await;
    }
    let kept = world.record(later).await.expect("hired");
    assert_ne!(kept.email.as_deref(), Some("boss@contoso.example"), "the old address stays");
    question(&world, later, ReviewKind::AddressTaken).await;
    assert_eq!(substance(&named(&world, "boss@contoso.example").await), before, "the record is untouched");
    world.stop().await;
}

/// TH-10: the admin of one company maps another's group, and makes people with the other's addresses in a shared realm.
#[tokio::test(flavor = "multi_thread")]
async fn th10_one_companys_admin_reaches_no_group_and_no_record_of_another() {
    let world = World::start().await;
    let company = Company::connected(&world).await;
    let ada = world.hire("Ada Lovelace", &[company.staff]);
    world.settle().await;
    let before = substance(&named(&world, "ada.lovelace@contoso.example").await);
    let neighbour = Neighbour::of(&world, Some(&world.connection.realm)).await;

    neighbour.maps(&world, company.staff).await;
    assert_eq!(world.records().await.len(), 1, "a group of another tenant has no members here");

    let thief = neighbour.hires(NewUser::named("Ada Thief").with("mail", json!("ada.lovelace@contoso.example")));
    neighbour.maps(&world, neighbour.staff).await;
    let asked = question(&world, thief, ReviewKind::Link).await;
    assert_eq!(asked.choices, [Choice::Create, Choice::KeepApart], "nobody may choose what is not theirs");
    for choice in [Choice::Link, Choice::Rehire, Choice::Reassign] {
        let chosen = Chosen { choice, record: None, username: None, by: &admin() };
        let settled = world.store.settle_review(asked.id, &chosen).await.expect("the store answers");
        assert!(matches!(settled, Err(NotSettled::Choice(_))), "{choice:?}");
    }
    assert_eq!(substance(&named(&world, "ada.lovelace@contoso.example").await), before);
    assert_in(world.record(ada).await.as_ref(), "Technician");
    world.stop().await;
}

/// TH-10: the admin of one company gives people a role, or a permission, above what the operator lets the company give.
#[tokio::test(flavor = "multi_thread")]
async fn th10_one_companys_admin_gives_no_role_above_the_operators_list() {
    let world = World::start().await;
    Company::connected(&world).await;
    let neighbour = Neighbour::of(&world, None).await;
    let mallory = neighbour.hires(NewUser::named("Mallory"));
    let id = neighbour.connection.id;
    let list = Grantable(Some(["Technician", "tickets"].map(str::to_owned).into()));
    world.store.set_grantable(id, &list, &admin()).await.expect("the operator says what may be given");
    neighbour.maps(&world, neighbour.staff).await;
    let role_of = async || {
        person(&world, &neighbour.connection, mallory).await.and_then(|one| one.record).and_then(|one| one.role)
    };
    assert_eq!(role_of().await.as_deref(), Some("Technician"));

    let rules = || Neighbour::rule(neighbour.staff);
    let [mut owner, mut permission, mut root, mut console] = [rules(), rules(), rules(), rules()];
    owner.role = Some("Owner".to_owned());
    permission.permissions = vec!["tickets".to_owned(), "everything".to_owned()];
    root.role = Some("Root ".to_owned());
    console.permissions = vec!["Console-Admin".to_owned()];
    let (fields, defaults, settings) = (FieldMap::default(), Defaults::default(), Settings::default());
    let try_all = async |rules: [&Rule; 2]| {
        for rule in rules {
            let tried = world.store.apply_rules(id, vec![rule.clone()], &fields, &defaults, &settings, &[]).await;
            assert!(matches!(tried, Err(StoreError::Refused(_))), "{:?}", rule.role);
        }
    };
    try_all([&owner, &permission]).await;
    // What is the host's alone is in nobody's gift, whatever the operator allows.
    let tried = world.store.set_grantable(id, &Grantable(Some(["tickets".to_owned()].into())), &admin()).await;
    assert!(matches!(tried, Err(StoreError::Refused(_))), "the rules in force give a technician");
    world.store.set_grantable(id, &Grantable::default(), &admin()).await.expect("any");
    try_all([&root, &console]).await;
    assert_eq!(role_of().await.as_deref(), Some("Technician"));
    world.stop().await;
}

/// TH-11: a foreign tenant's account with the same address, name and sign-in name is another person, in another realm.
#[tokio::test(flavor = "multi_thread")]
async fn th11_a_foreign_account_with_the_same_address_and_name_is_somebody_else() {
    let world = World::start().await;
    let company = Company::connected(&world).await;
    let ada = world.hire("Ada Lovelace", &[company.staff]);
    world.settle().await;
    let before = world.record(ada).await;
    let neighbour = Neighbour::of(&world, None).await;
    let same = json!("ada.lovelace@contoso.example");
    let user = NewUser::named("Ada Lovelace").with("mail", same.clone()).with("userPrincipalName", same);
    let double = neighbour.hires(user);
    neighbour.maps(&world, neighbour.staff).await;

    let hers = person(&world, &neighbour.connection, double).await.and_then(|person| person.record);
    let hers = hers.expect("a person of her own company");
    assert_ne!(Some(hers.id), before.as_ref().map(|record| record.id));
    assert_eq!((hers.realm.as_str(), hers.connection), ("fabrikam", Some(neighbour.connection.id)));
    neighbour.tenant.patch_user(double, json!({ "accountEnabled": false })).expect("exists");
    told(&world, neighbour.connection.id, double, Claim::Changed).await;
    world.pass(Duration::from_secs(6)).await;
    assert_eq!(world.record(ada).await, before, "what is done to one does nothing to the other");
    world.stop().await;
}

fn admin() -> Admin {
    Admin { name: "operator".to_owned(), reason: None }
}

/// TH-12, G-24: somebody makes themselves root by the directory, by an import, by a review; or shuts root out.
#[tokio::test(flavor = "multi_thread")]
async fn th12_nobody_becomes_root_and_nobody_shuts_root_out() {
    let world = World::start().await;
    let company = with_boss(&world, false).await;
    let ada = world.hire("Ada Lovelace", &[company.staff]);
    world.settle().await;
    let root = named(&world, "boss@contoso.example").await.id;
    world.store.make_root(root, false, &admin()).await.expect("the host makes root");
    let before = substance(&named(&world, "boss@contoso.example").await);

    let user = NewUser::named("boss").with("isRoot", json!(true)).with("jobTitle", json!("root"));
    let mallory = world.tenant.create_user(user);
    world.tenant.add_member(company.staff, mallory).expect("the group exists");
    world.tenant.patch_user(ada, json!({ "mail": "boss@contoso.example" })).expect("ada exists");
    world.pass(Duration::from_secs(6)).await;
    assert!(world.record(mallory).await.is_none());
    let asked = question(&world, mallory, ReviewKind::Link).await;
    assert_eq!(asked.choices, [Choice::Create, Choice::KeepApart], "root's address is reserved");
    assert_eq!(question(&world, ada, ReviewKind::AddressTaken).await.choices, [Choice::Keep]);
    let chosen = Chosen { choice: Choice::Create, record: None, username: None, by: &admin() };
    world.store.settle_review(asked.id, &chosen).await.expect("the store answers").expect("an answer");
    world.pass(Duration::from_secs(1)).await;
    let own = world.record(mallory).await.expect("a record of their own");
    assert_eq!((own.root, own.email, own.username), (false, None, None), "neither root's address nor its name");

    let line = ImportedRecord { host_id: Some("2".to_owned()), ..boss(true) };
    let outcome = world.store.import_records(&world.connection, &[line]).await.expect("an import");
    assert_eq!(outcome.refused.len(), 1, "an import does not overwrite root");
    let text = r#"{"kind": "employee", "email": "m@contoso.example", "root": true}"#;
    assert!(ImportedRecord::parse_line(1, text).is_err(), "and makes nobody root");
    assert_eq!(substance(&named(&world, "boss@contoso.example").await), before, "root is as it was");

    // A root that is linked, too: disabled and deleted in Microsoft.
    world.store.make_root(own.id, true, &admin()).await.expect("the host makes another one root");
    world.tenant.patch_user(mallory, json!({ "accountEnabled": false })).expect("exists");
    world.pass(Duration::from_secs(6)).await;
    world.tenant.delete_user(mallory, false).expect("exists");
    world.pass(Duration::from_secs(200)).await;
    let root = world.record(mallory).await.expect("kept");
    assert_eq!((root.root, root.status), (true, Status::Active), "nobody shuts root out");
    world.stop().await;
}
