//! Who is at the command line.

/// The account that runs the command, as the history and the audit name it. Whoever may open the store could write there
/// anyway: this is a note, not a proof.
pub fn operator() -> String {
    let names = ["SUDO_USER", "USER", "LOGNAME"].into_iter().filter_map(|name| std::env::var(name).ok());
    let mut names = names.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    names.next().unwrap_or_else(|| "unknown".to_owned())
}
