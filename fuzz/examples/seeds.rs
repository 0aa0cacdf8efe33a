//! Writes the seed corpora below `fuzz/corpus/`, in place of those that are there.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (target, _) in thermae_fuzz::TARGETS {
        let folder = corpus.join(target);
        std::fs::create_dir_all(&folder)?;
        for entry in std::fs::read_dir(&folder)? {
            std::fs::remove_file(entry?.path())?;
        }
    }
    for (target, name, bytes) in thermae_fuzz::seeds::all() {
        std::fs::write(corpus.join(target).join(name), bytes)?;
    }
    Ok(())
}
