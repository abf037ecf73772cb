package timeseries_test

import (
	"strconv"
	"testing"

	"tallystream/simulator/realdata"
)

// The source's own files, read without the importer.

// data is a file of the Michigan series, or a skip that says why.
func data(t testing.TB, name string) string {
	t.Helper()
	return realdata.Path(t, "mi-2020-timeseries/"+name)
}

func number(t testing.TB, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

var (
	voteTypes = []string{"electionday", "absentee", "total"}
	names     = []string{"biden", "trump", "jorgensen", "other"}
)
