//! What the installation looks like: `lockstep.toml` < environment < flag, in one struct.

mod address;
mod timing;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::Args;
use lockstep_core::timing::Timing;
use serde::Deserialize;
use url::Url;

use self::address::{check_public, check_simulator, socket, url};
use self::timing::TimingFile;

/// Settings as flags; clap also takes each from its environment variable. No `Debug`: URLs hold passwords.
#[derive(Args, Clone, Default)]
#[command(next_help_heading = "Settings")]
pub struct SettingFlags {
    /// Settings file [default: ./lockstep.toml if present]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where records are kept [default: sqlite://./lockstep-data/lockstep.db]
    #[arg(long, global = true, value_name = "URL", env = "LOCKSTEP_STORE_URL", hide_env_values = true)]
    pub store_url: Option<String>,
    /// The owner of the tables, whom only `lockstep migrate` needs; for PostgreSQL
    #[arg(long, global = true, value_name = "URL", env = "LOCKSTEP_MIGRATE_URL", hide_env_values = true)]
    pub migrate_url: Option<String>,
    /// Where hints wait [default: embedded:, the file ./lockstep-data/queue.db]
    #[arg(long, global = true, value_name = "URL", env = "LOCKSTEP_QUEUE_URL", hide_env_values = true)]
    pub queue_url: Option<String>,
    /// The key that secrets are encrypted under [default: ./lockstep-data/key]
    #[arg(long, global = true, value_name = "FILE", env = "LOCKSTEP_KEY_FILE", hide_env_values = true)]
    pub key_file: Option<PathBuf>,
    /// What Microsoft calls; without it there are no subscriptions
    #[arg(long, global = true, value_name = "URL", env = "LOCKSTEP_PUBLIC_URL", hide_env_values = true)]
    pub public_url: Option<String>,
    /// Where notifications are taken [default: 127.0.0.1:8080]
    #[arg(long, global = true, value_name = "ADDR", env = "LOCKSTEP_PUBLIC_BIND", hide_env_values = true)]
    pub public_bind: Option<String>,
    /// Where health and metrics are shown; never public [default: 127.0.0.1:8081]
    #[arg(long, global = true, value_name = "ADDR", env = "LOCKSTEP_ADMIN_BIND", hide_env_values = true)]
    pub admin_bind: Option<String>,
    /// A simulator in place of Graph
    #[arg(long, global = true, value_name = "URL", env = "LOCKSTEP_GRAPH_URL", hide_env_values = true)]
    pub graph_url: Option<String>,
    /// A simulator in place of Microsoft's sign-in; goes with --graph-url
    #[arg(long, global = true, value_name = "URL", env = "LOCKSTEP_LOGIN_URL", hide_env_values = true)]
    pub login_url: Option<String>,
}

/// `lockstep.toml`. The names are those of the environment without the prefix.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SettingsFile {
    store_url: Option<String>,
    migrate_url: Option<String>,
    queue_url: Option<String>,
    key_file: Option<PathBuf>,
    public_url: Option<String>,
    public_bind: Option<String>,
    admin_bind: Option<String>,
    graph_url: Option<String>,
    login_url: Option<String>,
    timing: TimingFile,
}

/// Settings as the program uses them.
#[derive(Clone)]
pub struct Settings {
    /// `sqlite://PATH` or `postgres://…`; may hold a password.
    pub store_url: String,
    /// The same database as its owner; may hold a password.
    pub migrate_url: Option<String>,
    /// `embedded:` or `embedded:PATH`.
    pub queue_url: String,
    /// Key file, made by the first command that needs it.
    pub key_file: PathBuf,
    /// What Graph calls.
    pub public_url: Option<Url>,
    /// The public listener.
    pub public_bind: SocketAddr,
    /// The admin listener.
    pub admin_bind: SocketAddr,
    /// A simulator's Graph.
    pub graph_url: Option<Url>,
    /// A simulator's identity endpoints.
    pub login_url: Option<Url>,
    /// Waiting times.
    pub timing: Timing,
}

/// Shows nothing of them: URLs hold passwords.
impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Settings")
    }
}

/// A setting that cannot stand; the text names it and says what to do.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadSettings(String);

const DEFAULT_FILE: &str = "lockstep.toml";
const DEFAULT_STORE: &str = "sqlite://./lockstep-data/lockstep.db";
const DEFAULT_QUEUE: &str = "embedded:";
const DEFAULT_QUEUE_FILE: &str = "embedded:./lockstep-data/queue.db";
const DEFAULT_KEY: &str = "./lockstep-data/key";
const DEFAULT_PUBLIC_BIND: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);
const DEFAULT_ADMIN_BIND: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8081);

impl Settings {
    /// Reads the settings file, if there is one, and lays environment and flags over it.
    pub fn load(flags: &SettingFlags) -> Result<Self, BadSettings> {
        let named = flags.config.as_deref();
        let path = named.unwrap_or(Path::new(DEFAULT_FILE));
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                return Err(BadSettings(format!("reading the settings file {}: {error}", path.display())));
            }
        };
        let file = toml::from_str(&text)
            .map_err(|error| BadSettings(format!("the settings file {} is wrong: {error}", path.display())))?;
        Self::merge(flags, file)
    }

    fn merge(flags: &SettingFlags, file: SettingsFile) -> Result<Self, BadSettings> {
        let graph_url = url("LOCKSTEP_GRAPH_URL", over(&flags.graph_url, file.graph_url))?;
        let login_url = url("LOCKSTEP_LOGIN_URL", over(&flags.login_url, file.login_url))?;
        let public_url = url("LOCKSTEP_PUBLIC_URL", over(&flags.public_url, file.public_url))?;
        let simulated = check_simulator(graph_url.as_ref(), login_url.as_ref())?;
        check_public(public_url.as_ref(), simulated)?;
        Ok(Self {
            store_url: over(&flags.store_url, file.store_url).unwrap_or_else(|| DEFAULT_STORE.to_owned()),
            migrate_url: over(&flags.migrate_url, file.migrate_url),
            queue_url: queue_url(over(&flags.queue_url, file.queue_url)),
            key_file: flags.key_file.clone().or(file.key_file).unwrap_or_else(|| DEFAULT_KEY.into()),
            public_bind: socket(
                "LOCKSTEP_PUBLIC_BIND",
                over(&flags.public_bind, file.public_bind),
                DEFAULT_PUBLIC_BIND,
            )?,
            admin_bind: socket("LOCKSTEP_ADMIN_BIND", over(&flags.admin_bind, file.admin_bind), DEFAULT_ADMIN_BIND)?,
            timing: file.timing.over_defaults(simulated)?,
            public_url,
            graph_url,
            login_url,
        })
    }
}

/// A variable set to nothing counts as not set.
fn over(flag: &Option<String>, file: Option<String>) -> Option<String> {
    flag.clone().filter(|text| !text.is_empty()).or(file).filter(|text| !text.is_empty())
}

fn queue_url(given: Option<String>) -> String {
    match given {
        Some(url) if url != DEFAULT_QUEUE => url,
        _ => DEFAULT_QUEUE_FILE.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn merge(flags: SettingFlags, file: &str) -> Result<Settings, BadSettings> {
        Settings::merge(&flags, toml::from_str(file).expect("valid file"))
    }

    fn simulator() -> SettingFlags {
        SettingFlags {
            graph_url: Some("http://127.0.0.1:9400".into()),
            login_url: Some("http://127.0.0.1:9400".into()),
            ..SettingFlags::default()
        }
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let file = "store_url = \"sqlite://file.db\"\nadmin_bind = \"127.0.0.1:1\"";
        let flags = SettingFlags { store_url: Some("sqlite://flag.db".into()), ..SettingFlags::default() };
        let settings = merge(flags, file).expect("settings");
        assert_eq!(settings.store_url, "sqlite://flag.db");
        assert_eq!(settings.admin_bind.port(), 1);
        assert_eq!(settings.public_bind.port(), 8080);
        assert_eq!(settings.queue_url, "embedded:./lockstep-data/queue.db");
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let read = toml::from_str::<SettingsFile>("admin_bind = \"127.0.0.1:1\"\nstore = \"x\"");
        let error = read.err().expect("refused");
        assert!(error.to_string().contains("line 2"), "{error}");
    }

    #[test]
    fn http_graph_is_for_this_machine_only() {
        let elsewhere = SettingFlags {
            graph_url: Some("http://graph.example".into()),
            login_url: Some("http://127.0.0.1:1".into()),
            ..SettingFlags::default()
        };
        assert!(merge(elsewhere, "").is_err());
        assert!(merge(simulator(), "").is_ok());
        let half = SettingFlags { login_url: None, ..simulator() };
        assert!(merge(half, "").is_err());
    }

    #[test]
    fn an_http_public_url_needs_a_simulator() {
        let public = Some("http://127.0.0.1:8080".to_owned());
        assert!(merge(SettingFlags { public_url: public.clone(), ..SettingFlags::default() }, "").is_err());
        assert!(merge(SettingFlags { public_url: public, ..simulator() }, "").is_ok());
    }

    #[test]
    fn shorter_waits_need_a_simulator_and_longer_ones_do_not() {
        let shorter = "[timing]\nscope_agree = \"1s\"";
        assert!(merge(SettingFlags::default(), shorter).is_err());
        let timing = merge(simulator(), shorter).expect("settings").timing;
        assert_eq!(timing.scope_agree, Duration::from_secs(1));
        let longer = merge(SettingFlags::default(), "[timing]\nsub_lifetime = \"96h\"").expect("settings");
        assert_eq!(longer.timing.sub_lifetime, Duration::from_secs(96 * 3600));
    }

    #[test]
    fn a_user_name_in_a_url_is_refused() {
        let flags = SettingFlags { public_url: Some("https://me:pw@sync.example".into()), ..SettingFlags::default() };
        let error = merge(flags, "").expect_err("refused").to_string();
        assert!(!error.contains("pw"), "{error}");
    }
}
