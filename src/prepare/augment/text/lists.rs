//! Words of closed classes, and words that are better left alone.

use std::collections::HashSet;
use std::sync::LazyLock;

/// Some words.
pub type List = LazyLock<HashSet<&'static str>>;

/// Articles, and whatever else can stand in their place before a noun.
pub static DETERMINERS: List = LazyLock::new(|| {
    words("a an the this that his her its their my your our each every another one any no some")
});

/// What stands before a plural and counts it.
pub static COUNTS: List = LazyLock::new(|| {
    words("two three four five six seven eight nine ten eleven twelve several many few both all these those")
});

/// Adjectives that leave the noun after them what it is: in `a hot dog` it is no dog any more.
pub static PLAIN: List = LazyLock::new(|| {
    words(
        "small little large big tiny huge young old older younger tall short long thin wet dry dirty muddy \
         cute happy smiling blond blonde other same lone black white brown red blue green yellow orange pink \
         purple gray grey tan beige silver golden dark light colorful male",
    )
});

/// Prepositions and words that join.
pub static LINKS: List = LazyLock::new(|| {
    words(
        "in on at with of to through by into near over for next from off as outside inside around along \
         behind across onto under beside towards toward against after before above below beneath between \
         among amongst amidst past down up out away back about within without upon atop during and or but \
         while whilst who which that where when because than",
    )
});

/// Forms of `be`.
pub static BE: List = LazyLock::new(|| words("is are was were be being"));

/// Other words with no meaning to replace, those of place among them.
static OTHERS: List = LazyLock::new(|| {
    words(
        "left right front top bottom middle side center centre upside upper lower here there together apart \
         not very too so also just only it he she they them him we you i someone somebody something himself \
         herself themselves has have had do does did can will what high low",
    )
});

/// Nouns that are not counted, before which `little` speaks of an amount.
pub static UNCOUNTED: List = LazyLock::new(|| {
    words("bit water snow sand grass dirt food ice hair rain mud light space time clothing league")
});

/// Words that no caption loses or gains. Most share a meaning with their synonym in the dictionary but
/// not before a camera (`owner`: of a shop or of a dog?), some are archaic, some hurt.
pub static NEVER: List = LazyLock::new(|| {
    words(
        "accountant adolescent adult aged alcoholic alien ass at babe bar behind beige black blond blonde \
         blue bluish bounce brown brownish buffet bullet cavity chat chocolate cocoa comic companion comrade \
         controller cope cot crawl creep crib crimson crossover deed dessert dice die eats equal fake falls \
         father feather fence fencing fit flat foliage food foreigner fray frog gasp gay girl go golden gray \
         green greenish grey group grouping gym helping hog homo hood huge human internet jaw jumper lab \
         laboratory lay leaf lean level load loading lush male mama merchandise mike miss mom net nude \
         nutrient older orange own owner packer pants papa patch pavement paving pedal peer pet pig pink pit \
         plain plant plume pop product proprietor punk pupil purple race rebound red reddish rock rush saloon \
         say scarlet serving sham silver slug spot spy squash state still stone student subway sweets tan \
         third thread tilt toad traverse tube vale violet wharf white works yellow yellowish",
    )
});

fn words(list: &'static str) -> HashSet<&'static str> {
    list.split_ascii_whitespace().collect()
}

/// Whether a word belongs to a closed class: it is looked up in none of the open ones.
pub fn is_closed(word: &str) -> bool {
    [&DETERMINERS, &COUNTS, &LINKS, &BE, &OTHERS].iter().any(|list| list.contains(word))
}
