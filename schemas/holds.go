package schemas

// HoldState says what became of a hold.
type HoldState string

// The states of holds.
const (
	HoldOpen       HoldState = "open"
	HoldReleased   HoldState = "released"
	HoldLapsed     HoldState = "lapsed"     // a release came after a later revision counted
	HoldSuperseded HoldState = "superseded" // a later revision of the unit counts
)
