PREFIX = "shop_"
