#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _means_something = fleet_tests::fuzz::cluster_keys(bytes);
});
