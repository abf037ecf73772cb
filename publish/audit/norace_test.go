//go:build !race

package audit_test

const underRace = false
