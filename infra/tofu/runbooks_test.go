package tofu_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"tallystream/infra/check"
	"tallystream/infra/tofu"
)

var runbookName = regexp.MustCompile(`/([a-z-]+\.md)$`)

// Each alarm's runbook exists and speaks of the alarm; each runbook is linked
// from the list, and from an alarm, an alert or another runbook.
func TestAlarmsLinkToRunbooksThatSpeakOfThem(t *testing.T) {
	modules := load(t, tofu.Files)
	for _, dir := range check.Dirs(modules) {
		m := modules[dir]
		for _, b := range m.Of("resource", "aws_cloudwatch_metric_alarm") {
			found := runbookName.FindStringSubmatch(tofu.At(m, b.Body, "alarm_description"))
			if found == nil {
				continue // the policy alarms says so
			}
			text, err := os.ReadFile(filepath.Join("../runbooks", found[1]))
			if err != nil {
				t.Errorf("%s: %v", b.Address(), err)
				continue
			}
			name := strings.TrimPrefix(tofu.At(m, b.Body, "alarm_name"), "${local.name}-")
			name, _, _ = strings.Cut(name, "-${") // one alarm a region
			if !strings.Contains(string(text), name) {
				t.Errorf("%s: %s does not speak of %s", b.Address(), found[1], name)
			}
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)#]+)\)`)

func TestLinksOfOurPagesLead(t *testing.T) {
	pages, err := filepath.Glob("../runbooks/*.md")
	if err != nil {
		t.Fatal(err)
	}
	index, err := os.ReadFile("../runbooks/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		if name := filepath.Base(page); name != "README.md" && !strings.Contains(string(index), "("+name+")") {
			t.Errorf("%s is not in the list of runbooks", name)
		}
	}
	for _, page := range append(pages, "../README.md", "../readiness.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, found := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(found[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), found[1])); err != nil {
				t.Errorf("%s: a link that leads nowhere: %v", page, err)
			}
		}
	}
}
