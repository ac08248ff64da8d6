//! Compiles the wire types with a protobuf compiler that is itself a crate, so that
//! building Fleet needs no protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=fleet/v1");
    let files = protox::compile(["fleet/v1/agent.proto", "fleet/v1/operator.proto"], ["."])?;
    tonic_prost_build::configure().compile_fds(files)?;
    Ok(())
}
