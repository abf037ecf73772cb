package tofu

import (
	"strings"

	"tallystream/infra/alerts"
	"tallystream/infra/check"
)

func alarms(d Deployment) []check.Finding {
	l := look{Deployment: d}
	watched := map[string]bool{}
	l.each("resource", "aws_cloudwatch_metric_alarm", func(m *check.Module, b *check.Block) {
		if actions, ok := list(m, b.Body, "alarm_actions"); !ok || len(actions) != 1 || actions[0] != "aws_sns_topic.alarms.arn" {
			l.add(b.At, "%s: it calls nobody", b.Address())
		}
		if argument(m, b.Body, "actions_enabled") == "false" {
			l.add(b.At, "%s: switched off", b.Address())
		}
		l.present(m, b, "treat_missing_data")
		if description := argument(m, b.Body, "alarm_description"); !runbook.MatchString(description) {
			l.add(b.At, "%s: its description does not end with ${var.runbooks_url}/<name>.md", b.Address())
		}
		slo := ""
		for _, value := range objectItems(b.Body.Attributes["tags"])["Slo"] {
			slo = text(m, value)
		}
		if _, known := alerts.Find(slo); !known {
			l.add(b.At, "%s: Slo is %q, which is none of infra/alerts", b.Address(), slo)
		}
		watched[slo] = true
	})
	for _, o := range alerts.Objectives {
		if !watched[o.Name] {
			l.found = append(l.found, check.Finding{Message: "no alarm for the objective " + o.Name})
		}
	}
	l.each("resource", "aws_sns_topic", func(m *check.Module, b *check.Block) {
		for _, s := range m.Of("resource", "aws_sns_topic_subscription") {
			if argument(m, s.Body, "topic_arn") == b.Address()+".arn" && argument(m, s.Body, "endpoint") == "each.key" {
				return
			}
		}
		l.add(b.At, "%s: nobody subscribes", b.Address())
	})
	return l.found
}

func tags(d Deployment) []check.Finding {
	l := look{Deployment: d}
	l.each("resource", "", func(m *check.Module, b *check.Block) {
		if _, can := d.Schema.Resources[b.Type].Block.Attributes["tags"]; !can {
			return
		}
		if got := argument(m, b.Body, "tags"); !strings.Contains(got, "local.tags") && !(m.Dir == Archive && got == "var.tags") {
			l.add(b.At, "%s: no tags", b.Address())
		}
	})
	l.eachCall(Archive, func(m *check.Module, call *check.Block) {
		l.want(m, call, []string{"local.tags"}, "tags")
	})
	return l.found
}
