//! The thermae command.

fn main() -> std::process::ExitCode {
    thermae_server::cli::main()
}
