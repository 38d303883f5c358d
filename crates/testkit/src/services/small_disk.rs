//! A disk that can be full: a file system in memory of its own, which only root may mount.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::skip;

const BALLAST: &str = "ballast";
static BLOCK: [u8; 64 * 1024] = [0; 64 * 1024];

/// Mounted on a folder until it is dropped.
pub(super) struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// `None`, with a word why, where nobody may mount.
    pub fn mounted_on(folder: &Path, mebibytes: u32) -> Option<Self> {
        std::fs::create_dir_all(folder).expect("the folder of the disk");
        let size = format!("size={mebibytes}m,mode=0711");
        let mounting = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder).output();
        if mounting.is_ok_and(|output| output.status.success()) {
            return Some(Self { folder: folder.to_path_buf() });
        }
        skip(&"a file system may not be mounted here");
        None
    }

    /// Nothing more goes onto it than `spare` bytes.
    pub fn fill(&self, spare: u64) {
        let mut ballast = File::options().create(true).append(true).open(self.ballast()).expect("room for a name");
        while ballast.write_all(&BLOCK).is_ok() {}
        let filled = ballast.metadata().expect("its length").len();
        ballast.set_len(filled.saturating_sub(spare)).expect("what is there can be given back");
    }

    /// Somebody clears it up.
    pub fn clear(&self) {
        std::fs::remove_file(self.ballast()).expect("the ballast is there");
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join(BALLAST)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: what a killed server still holds goes with it.
        let _ = Command::new("umount").arg("--lazy").arg(&self.folder).status();
    }
}
