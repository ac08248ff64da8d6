//! What is said, beside why, to a node that is known no more and may get in as a new one.

use tonic::Status;
use tonic::metadata::MetadataValue;

const HEADER: &str = "fleet-enrol-anew";

pub fn may_enrol_anew(mut refusal: Status) -> Status {
    let yes = MetadataValue::from_static("yes");
    refusal.metadata_mut().insert(HEADER, yes);
    refusal
}

pub fn is_to_enrol_anew(refusal: &Status) -> bool {
    refusal.metadata().contains_key(HEADER)
}
