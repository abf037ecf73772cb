package faults

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
)

// putAnswer is the answer of PutRecords.
type putAnswer struct {
	Failed     int    `json:"FailedRecordCount"`
	Records    []put  `json:"Records"`
	Encryption string `json:"EncryptionType,omitempty"`
}

// put is what became of one record.
type put struct {
	Sequence string `json:"SequenceNumber,omitempty"`
	Shard    string `json:"ShardId,omitempty"`
	Code     string `json:"ErrorCode,omitempty"`
	Message  string `json:"ErrorMessage,omitempty"`
}

// partial lets some records of a PutRecords fail, at least one. Those that do
// not are forwarded; with PartialAfter, all are.
func (t transport) partial(kind Kind, random *rand.Rand, r *http.Request, body []byte) (*http.Response, error) {
	var request map[string]json.RawMessage
	if err := json.Unmarshal(body, &request); err != nil {
		return nil, fmt.Errorf("reading records to fail some: %w", err)
	}
	var records []json.RawMessage
	if err := json.Unmarshal(request["Records"], &records); err != nil {
		return nil, fmt.Errorf("reading records to fail some: %w", err)
	}
	fails := whichFail(random, len(records))
	forwarded := records
	if kind == Partial {
		forwarded = nil
		for i, record := range records {
			if !fails[i] {
				forwarded = append(forwarded, record)
			}
		}
	}
	inner := putAnswer{}
	if len(forwarded) > 0 {
		response, err := t.forward(r, request, forwarded, &inner)
		if response != nil || err != nil {
			return response, err // the service's own failure of the whole request
		}
	}
	return merged(random, r, inner, fails, kind == PartialAfter)
}

// whichFail draws a fate for each of n records; at least one fails.
func whichFail(random *rand.Rand, n int) []bool {
	fails := make([]bool, n)
	share := random.Float64()
	for i := range fails {
		fails[i] = random.Float64() < share
	}
	if n > 0 {
		fails[random.IntN(n)] = true
	}
	return fails
}

// forward sends these records only. It returns the answer itself if it is a failure.
func (t transport) forward(r *http.Request, request map[string]json.RawMessage, records []json.RawMessage, into *putAnswer) (*http.Response, error) {
	encoded, err := json.Marshal(records)
	if err != nil {
		return nil, fmt.Errorf("writing some of the records: %w", err)
	}
	request["Records"] = encoded
	body, err := json.Marshal(request)
	if err != nil {
		return nil, fmt.Errorf("writing some of the records: %w", err)
	}
	answer, err := t.send(r, body)
	if err != nil || answer.StatusCode != http.StatusOK {
		return answer, err
	}
	b, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return nil, fmt.Errorf("reading what became of the records: %w", err)
	}
	if len(into.Records) != len(records) {
		return nil, fmt.Errorf("reading what became of the records: %d answers for %d", len(into.Records), len(records))
	}
	return nil, nil
}

// merged answers for every record: the service's word for those that were
// forwarded and may be known, and an error for those that fail.
func merged(random *rand.Rand, r *http.Request, inner putAnswer, fails []bool, all bool) (*http.Response, error) {
	out := putAnswer{Records: make([]put, len(fails)), Encryption: inner.Encryption}
	next := 0
	for i := range fails {
		if all || !fails[i] {
			out.Records[i] = inner.Records[next]
			next++
		}
		if fails[i] {
			out.Records[i] = put{Code: "ProvisionedThroughputExceededException", Message: "Rate exceeded for shard shardId-000000000000 in stream."}
			if all || random.IntN(4) == 0 {
				out.Records[i] = put{Code: "InternalFailure", Message: "Internal service failure."}
			}
		}
		if out.Records[i].Code != "" {
			out.Failed++
		}
	}
	body, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("writing what became of the records: %w", err)
	}
	return response(r, http.StatusOK, r.Header.Get("Content-Type"), bytes.TrimSpace(body)), nil
}
