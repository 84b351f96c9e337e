//! What the shops sell.

use super::dice::Dice;

/// A trade and its shelf.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trade {
    /// Words that end a merchant's name.
    pub(super) name_ends: &'static [&'static str],
    modifiers: &'static [&'static str],
    goods: &'static [&'static str],
    sizes: &'static [&'static str],
    /// Most common price range in cents.
    pub(super) prices: (u32, u32),
    /// Guests are served at a table: server, table and tip instead of a register.
    pub(super) served: bool,
}

pub(super) const TRADES: [Trade; 6] = [
    Trade {
        name_ends: &["Market", "Foods", "Grocery", "Supermarket", "Mart", "Grocers", "Farms", "Fresh Market", "Foods Inc."],
        modifiers: &[
            "Organic", "Fresh", "Large", "Whole", "Low Fat", "Greek", "Sliced", "Frozen", "Baby", "Sweet", "Roasted",
            "Wild", "Raw", "Natural", "Jumbo", "Hass", "Gala", "Roma", "Smoked", "Brown", "Sparkling", "Unsalted", "Dark",
            "Honey", "Extra Virgin",
        ],
        goods: &[
            "Milk", "Eggs", "Bananas", "Bread", "Butter", "Cheddar", "Yogurt", "Chicken", "Beef", "Salmon", "Rice", "Pasta",
            "Tomatoes", "Potatoes", "Onions", "Carrots", "Lettuce", "Spinach", "Broccoli", "Apples", "Oranges", "Grapes",
            "Lemons", "Avocado", "Cereal", "Oats", "Sugar", "Flour", "Salt", "Pepper", "Olive Oil", "Vinegar", "Ketchup",
            "Mustard", "Soup", "Beans", "Tuna", "Crackers", "Cookies", "Chips", "Salsa", "Hummus", "Tofu", "Ham", "Bacon",
            "Sausage", "Ice Cream", "Coffee", "Tea", "Juice", "Water", "Soda", "Paper Towels", "Tissue", "Detergent",
            "Dish Soap", "Peanut Butter", "Jam", "Almonds", "Walnuts",
        ],
        sizes: &["12OZ", "16OZ", "1LB", "2LB", "500G", "1KG", "6PK", "12CT", "1GAL", "2L", "750ML", "LRG"],
        prices: (79, 1899),
        served: false,
    },
    Trade {
        name_ends: &["Restaurant", "Grill", "Kitchen", "Bistro", "Diner", "Tavern", "Steakhouse", "Trattoria", "Eatery"],
        modifiers: &[
            "Grilled", "Fried", "Spicy", "House", "Classic", "Crispy", "Garlic", "Braised", "Steamed", "Seared", "BBQ",
            "Baked", "Truffle", "Chef's", "Side", "Kids", "Lunch", "Pulled", "Blackened", "Mixed",
        ],
        goods: &[
            "Burger", "Fries", "Salad", "Caesar Salad", "Ribeye", "Salmon", "Chicken Wings", "Tacos", "Burrito", "Quesadilla",
            "Pad Thai", "Fried Rice", "Ramen", "Dumplings", "Spring Rolls", "Pizza", "Lasagna", "Risotto", "Gnocchi",
            "Calamari", "Shrimp", "Lobster Roll", "Clam Chowder", "Onion Soup", "Cheesecake", "Tiramisu", "Brownie",
            "Iced Tea", "Lemonade", "House Wine", "Draft Beer", "Margarita", "Mojito", "Coke", "Diet Coke", "Espresso",
            "Mashed Potatoes", "Mac & Cheese", "Garlic Bread", "Nachos", "Pork Chop", "Fish & Chips", "Club Sandwich",
        ],
        sizes: &["(L)", "(S)", "GLS", "BTL", "X2", "REG"],
        prices: (295, 3895),
        served: true,
    },
    Trade {
        name_ends: &["Cafe", "Coffee", "Coffee Co.", "Bakery", "Roasters", "Espresso Bar", "Tea House", "Donuts"],
        modifiers: &[
            "Iced", "Hot", "Double", "Vanilla", "Caramel", "Oat Milk", "Decaf", "Chocolate", "Almond", "Blueberry", "Plain",
            "Everything", "Cinnamon", "Pumpkin", "Matcha", "Skinny",
        ],
        goods: &[
            "Latte", "Cappuccino", "Americano", "Mocha", "Espresso", "Cold Brew", "Flat White", "Macchiato", "Chai", "Tea",
            "Croissant", "Muffin", "Bagel", "Scone", "Cookie", "Donut", "Danish", "Brownie", "Sandwich", "Quiche", "Panini",
            "Granola", "Smoothie", "Hot Chocolate", "Cake Slice", "Baguette", "Sourdough",
        ],
        sizes: &["SM", "MD", "LG", "12OZ", "16OZ", "TALL", "GRANDE"],
        prices: (195, 995),
        served: false,
    },
    Trade {
        name_ends: &["Pharmacy", "Drugs", "Drug Store", "Health", "Wellness", "Apothecary", "Chemist"],
        modifiers: &[
            "Extra Strength", "Daily", "Kids", "Travel", "Sensitive", "Mint", "Aloe", "Sport", "Night", "Day", "Gentle", "Max",
        ],
        goods: &[
            "Ibuprofen", "Aspirin", "Vitamin C", "Vitamin D3", "Multivitamin", "Toothpaste", "Toothbrush", "Floss",
            "Mouthwash", "Shampoo", "Conditioner", "Body Wash", "Lotion", "Sunscreen", "Deodorant", "Razors", "Bandages",
            "Cotton Swabs", "Cough Syrup", "Allergy Tabs", "Antacid", "Lip Balm", "Hand Cream", "Nail File", "Tissues",
            "Thermometer", "Face Mask", "Eye Drops", "Hair Gel", "Greeting Card", "Batteries",
        ],
        sizes: &["100CT", "50CT", "8OZ", "200ML", "2PK", "24CT", "30S"],
        prices: (149, 2999),
        served: false,
    },
    Trade {
        name_ends: &["Hardware", "Home Center", "Supply", "Tools", "Lumber", "Garden Center", "Building Supply", "Trading"],
        modifiers: &[
            "Steel", "Galvanized", "Brass", "PVC", "Heavy Duty", "Cordless", "LED", "Exterior", "Interior", "White", "Black",
            "Pine", "Wall", "Flex", "Multi",
        ],
        goods: &[
            "Screws", "Nails", "Hammer", "Drill Bit", "Screwdriver", "Wrench", "Pliers", "Tape Measure", "Paint", "Primer",
            "Paint Brush", "Roller", "Sandpaper", "Wood Glue", "Caulk", "Light Bulb", "Extension Cord", "Outlet", "Switch",
            "Hinge", "Door Knob", "Padlock", "Hose", "Sprinkler", "Potting Soil", "Fertilizer", "Shovel", "Rake", "Gloves",
            "Bucket", "Plywood", "2x4 Stud", "Pipe Fitting", "Elbow", "Washer", "Anchor", "Duct Tape",
        ],
        sizes: &["1/2IN", "3/4IN", "8FT", "10FT", "50PC", "100PK", "1GAL", "5GAL", "#8"],
        prices: (99, 8999),
        served: false,
    },
    Trade {
        name_ends: &["Boutique", "Outlet", "Apparel", "Fashion", "Department Store", "Sports", "Books", "Toys", "Gifts", "Electronics"],
        modifiers: &[
            "Mens", "Womens", "Kids", "Slim", "Classic", "Cotton", "Wool", "Leather", "Denim", "Linen", "Blue", "Navy",
            "Striped", "Wireless", "Mini", "Vintage",
        ],
        goods: &[
            "T-Shirt", "Jeans", "Socks", "Jacket", "Hoodie", "Dress", "Skirt", "Shorts", "Scarf", "Belt", "Hat", "Gloves",
            "Sneakers", "Boots", "Sandals", "Backpack", "Wallet", "Sunglasses", "Watch", "Notebook", "Pen Set", "Puzzle",
            "Board Game", "Paperback", "Candle", "Mug", "Picture Frame", "Charger", "USB Cable", "Headphones", "Speaker",
            "Mouse", "Phone Case", "Yoga Mat", "Water Bottle", "Tennis Balls",
        ],
        sizes: &["S", "M", "L", "XL", "32X32", "10.5", "1PC", "BLK", "2PK"],
        prices: (299, 12999),
        served: false,
    },
];

impl Trade {
    /// A product's name as its words, e.g. `Organic Bananas 1LB`.
    pub(super) fn product(&self, dice: &mut Dice) -> Vec<String> {
        let mut words: Vec<&str> = Vec::new();
        if dice.chance(0.55) {
            words.extend(dice.pick(self.modifiers).split(' '));
        }
        words.extend(dice.pick(self.goods).split(' '));
        if dice.chance(0.3) {
            words.push(dice.pick(self.sizes));
        }
        words.into_iter().map(String::from).collect()
    }
}
