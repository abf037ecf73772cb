package notify

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-lambda-go/events"

	"tallystream/infra/functions/verify"
	"tallystream/schemas"
)

// event is any of the forms that come. Their fields do not collide.
type event struct {
	events.SNSEvent
	invocation
	Text string `json:"text"`
}

// invocation is the record that Lambda sends to a destination
// (docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html).
type invocation struct {
	RequestContext struct {
		RequestID   string `json:"requestId"`
		FunctionARN string `json:"functionArn"`
		Condition   string `json:"condition"` // Success, RetriesExhausted or EventAgeExceeded
	} `json:"requestContext"`
	ResponsePayload json.RawMessage `json:"responsePayload"`
}

// messagesOf says what an event has to tell; none is fine.
func (h *Handler) messagesOf(raw json.RawMessage) ([]Message, error) {
	var e event
	if err := json.Unmarshal(raw, &e); err != nil {
		return nil, fmt.Errorf("reading the event: %w", err)
	}
	var out []Message
	switch {
	case len(e.Records) > 0:
		for i := range e.Records {
			r := &e.Records[i]
			if r.EventSource != "aws:sns" {
				return nil, fmt.Errorf("reading the event: record %d is of %q, want aws:sns", i, r.EventSource)
			}
			out = append(out, h.message(r.SNS.MessageID, Alarm, alarmText(&r.SNS)))
		}
	case e.RequestContext.Condition == "Success":
		return h.news(&e.invocation)
	case e.RequestContext.Condition != "":
		out = append(out, h.message(e.RequestContext.RequestID, Failure, failureText(&e.invocation)))
	case e.Text != "":
		out = append(out, h.message("said "+schemas.DigestOf(raw).String(), Alarm, e.Text))
	default:
		return nil, errors.New(`reading the event: it is none of SNS, of another function's end, or {"text": "..."}`)
	}
	return out, nil
}

func (h *Handler) message(id string, kind Kind, text string) Message {
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + " ..."
	}
	return Message{ID: id, Kind: kind, Election: h.Election, Text: text}
}

// alarmText says what CloudWatch says, shorter. What is no alarm is passed on.
func alarmText(m *events.SNSEntity) string {
	var a events.CloudWatchAlarmSNSPayload
	if err := json.Unmarshal([]byte(m.Message), &a); err != nil || a.AlarmName == "" {
		return strings.TrimSpace(m.Subject + "\n" + m.Message)
	}
	state := map[string]string{"ALARM": "ALARM", "OK": "over", "INSUFFICIENT_DATA": "no data"}[a.NewStateValue]
	if state == "" {
		state = a.NewStateValue
	}
	text := fmt.Sprintf("%s: %s (%s, since %s)", state, a.AlarmName, a.Region, a.StateChangeTime)
	if a.NewStateValue != "OK" {
		text += "\n" + a.AlarmDescription + "\n" + a.NewStateReason
	}
	return text
}

// failureText says why a function gave up.
func failureText(i *invocation) string {
	var why struct {
		Message string `json:"errorMessage"`
	}
	name := i.RequestContext.FunctionARN
	if at := strings.Index(name, ":function:"); at >= 0 {
		name, _, _ = strings.Cut(name[at+len(":function:"):], ":") // without the version
	}
	if err := json.Unmarshal(i.ResponsePayload, &why); err != nil || why.Message == "" {
		why.Message = "it says nothing: look at its log"
	}
	return fmt.Sprintf("%s failed (%s): %s", name, i.RequestContext.Condition, why.Message)
}

// news reads the answer of verify.
func (h *Handler) news(i *invocation) ([]Message, error) {
	var r verify.Result
	if err := json.Unmarshal(i.ResponsePayload, &r); err != nil {
		return nil, fmt.Errorf("reading the event: the answer of %s: %w", i.RequestContext.FunctionARN, err)
	}
	var out []Message
	for n := range r.News {
		// The same step of the log is the same news, whoever verified it.
		x := &r.News[n]
		id := fmt.Sprintf("%s snapshot %d %s %s", h.Election, x.Snapshot, x.Kind, x.Code)
		out = append(out, h.message(strings.TrimSpace(id), Editors, h.newsText(x)))
	}
	return out, nil
}

func (h *Handler) newsText(n *verify.News) string {
	end := fmt.Sprintf("Snapshot %d, verified. %s", n.Snapshot, h.Site)
	switch n.Kind {
	case verify.NewsFirst:
		return fmt.Sprintf("First results: %d of %d units have reported. %s", n.Reported, n.Units, end)
	case verify.NewsShare:
		return fmt.Sprintf("%d of %d units have reported. %s", n.Reported, n.Units, end)
	case verify.NewsAll:
		return fmt.Sprintf("All %d units have reported. %s", n.Units, end)
	case verify.NewsHeld:
		return fmt.Sprintf("Held, and waiting for supervisors: %d (%s). %s", n.Count, n.Code, end)
	}
	return fmt.Sprintf("%s. %s", n.Kind, end)
}
