//! Open a dataset and show what it holds: `cargo run -p genzoo-dataset --example inspect -- [NAME|DIR]`.

use dataset::{Cache, Dataset, Source, Split};

fn main() -> Result<(), dataset::Error> {
    let name = std::env::args().nth(1);
    let source = Source::parse(name.as_deref().unwrap_or(Source::GLYPHS))?;
    let data = Dataset::open(&source, &Cache::from_environment()?)?;
    println!(
        "{}: {} with {} levels",
        data.name(),
        data.shape(),
        data.levels()
    );
    for split in Split::ALL {
        println!("{split:>6}: {} images", data.split(split).len());
    }
    let train = data.split(Split::Train);
    let shape = data.shape();
    if !train.is_empty() {
        println!("first training image, label {:?}:", train.label(0));
        for row in train.image(0).chunks(shape.width * shape.channels) {
            let shades = b" .:-=+*#%@";
            let top = data.levels() as usize - 1;
            let line = row.iter().step_by(shape.channels);
            println!(
                "{}",
                line.map(|&p| shades[usize::from(p) * 9 / top] as char)
                    .collect::<String>()
            );
        }
    }
    Ok(())
}
