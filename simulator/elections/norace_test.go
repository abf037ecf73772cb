//go:build !race

package elections_test

const underRace = false
