//! What the tests of connection tracking stand on.

use netglass_testing::Namespace;

/// A namespace whose port 80 leads to port 8080 of its loopback address.
pub(super) fn redirecting() -> Namespace {
    let namespace = Namespace::new("nat");
    namespace.nft(
        "table ip nat {
            chain output {
                type nat hook output priority -100;
                tcp dport 80 redirect to :8080;
            }
        }",
    );
    namespace.add_address("lo", "10.9.9.9/32");
    namespace
}
