//! Being asked to stop: by Ctrl-C, or by whoever runs the service.

use tokio::signal::unix::{SignalKind, signal};

/// Waits for SIGTERM or SIGINT; answers which it was.
pub async fn asked_to_stop() -> &'static str {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        // Without handlers the default action of the signals ends the process.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}
