package service

import (
	"runtime/debug"
	"testing"
)

func TestAReleaseIsTheLinkersNameOrTheCommit(t *testing.T) {
	commit := []debug.BuildSetting{{Key: "vcs", Value: "git"}, {Key: "vcs.revision", Value: "0123456789abcdef0123456789abcdef01234567"}}
	changed := append(commit[:2:2], debug.BuildSetting{Key: "vcs.modified", Value: "true"})
	for _, c := range []struct {
		linked   string
		settings []debug.BuildSetting
		want     Release
	}{
		{"v1.2.3", changed, "v1.2.3"},
		{"", commit, "0123456789ab"},
		{"not a name", commit, "0123456789ab"},
		{"", changed, "0123456789ab-dirty"},
		{"", nil, ""},
		{"", changed[2:], ""}, // changed, but from what?
	} {
		if got, ok := releaseOf(c.linked, c.settings); ok != (c.want != "") || ok && got != c.want {
			t.Errorf("%q with %v: %q, %v, want %q", c.linked, c.settings, got, ok, c.want)
		}
	}
}
