//! The end of a process that computes.

use std::ffi::c_int;

unsafe extern "C" {
    fn _exit(status: c_int) -> !;
}

/// Ends the process now, without what the libraries do at a proper end: libtorch's globals must not be destroyed under
/// a thread that computes with them.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: `_exit` takes any status, from any thread, and does not come back.
    unsafe { _exit(status) }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    /// Not a test of its own: what the one below runs.
    #[test]
    #[ignore = "it ends the process"]
    fn ends() {
        super::exit_now(7);
    }

    #[test]
    fn the_status_is_the_processs() {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let ended = command.args(["--ignored", "--exact", "process::tests::ends"]).status().unwrap();
        assert_eq!(ended.code(), Some(7));
    }
}
