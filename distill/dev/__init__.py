"""Stand-ins for paid services, for tests and dry demos: real wire formats, no model behind them."""
