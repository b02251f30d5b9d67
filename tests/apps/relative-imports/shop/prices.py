PRICES = {"tea": 3, "cup": 4}
