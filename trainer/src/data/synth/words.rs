//! Parts that names, streets and towns are put together from. All invented by combination.

pub(super) const NAME_FIRST: [&str; 96] = [
    "Blue", "Golden", "Silver", "Green", "Red", "Copper", "Happy", "Lucky", "Royal", "Grand", "Little",
    "Old", "New", "Urban", "Rustic", "Sunny", "Coastal", "Mountain", "River", "Harbor", "Maple", "Cedar",
    "Oak", "Willow", "Pine", "Birch", "Lotus", "Jade", "Coral", "Amber", "Crystal", "Diamond", "Emerald",
    "Ruby", "Pearl", "Ivory", "Velvet", "Crimson", "Scarlet", "Indigo", "Prairie", "Desert", "Valley",
    "Summit", "Canyon", "Meadow", "Garden", "Orchard", "Village", "Corner", "Central", "Metro", "Downtown",
    "Northern", "Southern", "Eastern", "Western", "Pacific", "Atlantic", "Liberty", "Pioneer", "Heritage",
    "Classic", "Modern", "Prime", "Elite", "Smart", "Fresh", "Daily", "Family", "Uncle", "Mama", "Papa",
    "Captain", "Bella", "Casa", "Villa", "Bonito", "Luna", "Sol", "Nova", "Zen", "Koi", "Tiger", "Dragon",
    "Falcon", "Eagle", "Heron", "Otter", "Fox", "Bear", "Wolf", "Whale", "Dolphin", "Turtle", "Panda",
];

pub(super) const NAME_START: [&str; 40] = [
    "Bran", "Cal", "Dor", "El", "Fal", "Gar", "Hal", "Is", "Jor", "Kel", "Lan", "Mar", "Nor", "Or", "Pel",
    "Quin", "Ros", "Sal", "Tor", "Ul", "Val", "Wes", "Xan", "Yar", "Zel", "Ber", "Cor", "Dav", "Er", "Fen",
    "Gil", "Hen", "Jas", "Kar", "Lor", "Mil", "Nel", "Os", "Per", "Ran",
];

pub(super) const NAME_END: [&str; 32] = [
    "don", "etti", "field", "ford", "ham", "ino", "ington", "ix", "kins", "land", "lini", "lo", "man",
    "mart", "mere", "mont", "nett", "o", "ora", "ova", "ridge", "rico", "sen", "smith", "son", "ster", "ton",
    "vale", "ville", "well", "wick", "worth",
];

pub(super) const STREETS: [&str; 48] = [
    "Main",
    "Oak",
    "Maple",
    "Cedar",
    "Elm",
    "Pine",
    "Washington",
    "Lake",
    "Hill",
    "Walnut",
    "Spring",
    "North",
    "Ridge",
    "Church",
    "Park",
    "Broadway",
    "Market",
    "River",
    "Sunset",
    "Franklin",
    "Jackson",
    "Highland",
    "Mill",
    "School",
    "Cherry",
    "Valley",
    "Center",
    "Union",
    "Forest",
    "Meadow",
    "Lincoln",
    "Madison",
    "Monroe",
    "Harbor",
    "Station",
    "Bridge",
    "Victoria",
    "Queens",
    "Kings",
    "Orchard",
    "Laurel",
    "Magnolia",
    "Chestnut",
    "Dogwood",
    "College",
    "Jefferson",
    "Liberty",
    "Grove",
];

pub(super) const STREET_KINDS: [&str; 14] =
    ["St", "Street", "Ave", "Avenue", "Rd", "Road", "Blvd", "Dr", "Lane", "Ln", "Way", "Pkwy", "St.", "Ave."];

pub(super) const TOWN_START: [&str; 36] = [
    "Spring", "River", "Fair", "Green", "Oak", "Cedar", "Lake", "West", "East", "North", "South", "Clear",
    "Bright", "Ash", "Brook", "Clay", "Day", "Elm", "Glen", "Hazel", "Iron", "Kings", "Long", "Maple", "New",
    "Old", "Pleasant", "Red", "Rock", "Salt", "Stone", "Sum", "Thorn", "Wake", "White", "Wind",
];

pub(super) const TOWN_END: [&str; 24] = [
    "field", "ton", "ville", "dale", "wood", "view", "brook", "port", "ford", "burg", "haven", "mont",
    "side", "crest", "bury", "ham", "land", "mere", "more", "shire", "stead", "well", "wick", "worth",
];

pub(super) const STATES: [&str; 24] = [
    "CA", "NY", "TX", "FL", "WA", "OR", "IL", "OH", "PA", "GA", "NC", "MI", "NJ", "VA", "AZ", "MA", "TN",
    "IN", "MO", "MD", "WI", "CO", "MN", "NV",
];

pub(super) const PEOPLE: [&str; 40] = [
    "Anna", "Ben", "Carla", "David", "Elena", "Frank", "Grace", "Hugo", "Iris", "Jack", "Kate", "Leo",
    "Maria", "Nick", "Olga", "Paul", "Rosa", "Sam", "Tina", "Victor", "Wendy", "Alex", "Bella", "Chris",
    "Diana", "Eric", "Fiona", "Gus", "Helen", "Ivan", "Julia", "Kevin", "Lisa", "Mark", "Nora", "Oscar",
    "Priya", "Ravi", "Sofia", "Tom",
];

pub(super) const THANKS: [&str; 14] = [
    "THANK YOU",
    "THANK YOU FOR SHOPPING",
    "THANK YOU FOR YOUR VISIT",
    "THANKS FOR SHOPPING WITH US",
    "Thank you, please come again",
    "THANK YOU! PLEASE COME AGAIN",
    "HAVE A NICE DAY",
    "HAVE A GREAT DAY!",
    "Thank you for dining with us",
    "SEE YOU SOON",
    "WE APPRECIATE YOUR BUSINESS",
    "Thanks for your order!",
    "CUSTOMER COPY",
    "THANK YOU AND COME BACK SOON",
];

pub(super) const NOTICES: [&str; 16] = [
    "RETURNS WITHIN 30 DAYS WITH RECEIPT",
    "NO REFUND WITHOUT RECEIPT",
    "GOODS SOLD ARE NOT RETURNABLE",
    "PLEASE KEEP THIS RECEIPT FOR YOUR RECORDS",
    "EXCHANGES WITHIN 14 DAYS ONLY",
    "TELL US HOW WE DID",
    "TAKE OUR SURVEY AND WIN A GIFT CARD",
    "FOLLOW US ONLINE FOR DEALS",
    "JOIN OUR TEAM, APPLY TODAY",
    "ASK ABOUT OUR REWARDS PROGRAM",
    "PRICES INCLUDE TAX",
    "ALL SALES FINAL ON CLEARANCE",
    "THIS IS NOT A TAX INVOICE",
    "I AGREE TO PAY THE ABOVE AMOUNT",
    "TAX INVOICE",
    "SEE BACK OF RECEIPT FOR POLICY",
];

pub(super) const WELCOMES: [&str; 8] = [
    "WELCOME",
    "WELCOME TO OUR STORE",
    "*** RECEIPT ***",
    "SALES RECEIPT",
    "TAX INVOICE",
    "GUEST CHECK",
    "INVOICE",
    "Welcome!",
];
