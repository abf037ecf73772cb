package tofu

// For tests that compare the text with other packages.
var (
	At      = at
	Strings = templates
)
