//! What all kernel programs have in common.

use std::sync::Once;

/// Keeps libbpf from writing to standard error: what fails comes back as an error.
pub(crate) fn silence_loader() {
    static SILENCE: Once = Once::new();
    SILENCE.call_once(|| {
        libbpf_rs::set_print(None);
    });
}
