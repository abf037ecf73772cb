package kinesistest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/schemas"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/eventstream"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/aws/smithy-go/transport/http/protocol/awsjson"

	"tallystream/ingest/stream/kinesis"
)

// Handler serves the stream over HTTP in the AWS JSON 1.1 protocol, for the
// SDK's client and for other processes: the operations of kinesis.API,
// SplitShard, MergeShards, and SubscribeToShard with its event stream. It does
// not look at signatures.
func (s *Service) Handler() http.Handler { return &handler{s} }

type handler struct{ service *Service }

const (
	targetPrefix = "Kinesis_20131202."
	maxBody      = 16 << 20 // 10 MiB of records in base64, and what is around them
)

var protocol = awsjson.New11(schemas.Kinesis_20131202)

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		fail(w, invalid("reading request: %v", err))
		return
	}
	operation := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), targetPrefix)
	if operation == "SubscribeToShard" {
		h.subscribe(w, r, body)
		return
	}
	out, schema, err := h.call(r.Context(), operation, body)
	if err != nil {
		fail(w, err)
		return
	}
	b, err := encode(schema, out)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	_, _ = w.Write(b) // a client that went away does not matter
}

func (h *handler) call(ctx context.Context, operation string, body []byte) (smithy.Serializable, *smithy.Schema, error) {
	s := h.service
	switch operation {
	case "DescribeStreamSummary":
		out, err := decoded(ctx, body, s.DescribeStreamSummary)
		return out, schemas.DescribeStreamSummary, err
	case "ListShards":
		out, err := decoded(ctx, body, s.ListShards)
		return out, schemas.ListShards, err
	case "PutRecords":
		out, err := decoded(ctx, body, s.PutRecords)
		return out, schemas.PutRecords, err
	case "GetShardIterator":
		out, err := decoded(ctx, body, s.GetShardIterator)
		return out, schemas.GetShardIterator, err
	case "GetRecords":
		out, err := decoded(ctx, body, s.GetRecords)
		return out, schemas.GetRecords, err
	case "SplitShard":
		out, err := decoded(ctx, body, s.splitShard)
		return out, schemas.SplitShard, err
	case "MergeShards":
		out, err := decoded(ctx, body, s.mergeShards)
		return out, schemas.MergeShards, err
	}
	return nil, nil, invalid("operation %.60q is not one of this fake", operation)
}

// decoded reads a request by its Go type, whose fields have the names of the
// protocol, and calls.
func decoded[In, Out any](ctx context.Context, body []byte, call func(context.Context, *In, ...func(*sdk.Options)) (*Out, error)) (*Out, error) {
	in := new(In)
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	if err := d.Decode(in); err != nil {
		return nil, invalid("reading request: %v", err)
	}
	return call(ctx, in)
}

func (s *Service) splitShard(_ context.Context, in *sdk.SplitShardInput, _ ...func(*sdk.Options)) (*sdk.SplitShardOutput, error) {
	at, err := kinesis.ParsePoint(value(in.NewStartingHashKey))
	if err == nil {
		err = s.Split(value(in.ShardToSplit), at)
	}
	if err != nil {
		return nil, invalid("%v", err)
	}
	return &sdk.SplitShardOutput{}, nil
}

func (s *Service) mergeShards(_ context.Context, in *sdk.MergeShardsInput, _ ...func(*sdk.Options)) (*sdk.MergeShardsOutput, error) {
	if err := s.Merge(value(in.ShardToMerge), value(in.AdjacentShardToMerge)); err != nil {
		return nil, invalid("%v", err)
	}
	return &sdk.MergeShardsOutput{}, nil
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// encode writes an answer as the SDK would write a request of the same shape:
// the protocol knows no difference.
func encode(operation *smithy.Schema, out smithy.Serializable) ([]byte, error) {
	request := smithyhttp.NewStackRequest().(*smithyhttp.Request)
	schema := smithy.NewOperationSchema(operation, operation, operation)
	if err := protocol.SerializeRequest(context.Background(), schema, out, request); err != nil {
		return nil, fmt.Errorf("writing answer: %w", err)
	}
	return io.ReadAll(request.GetStream())
}

// fail answers with an error, or with a broken connection where that is what
// befell the call.
func fail(w http.ResponseWriter, err error) {
	if errors.Is(err, errLost) {
		panic(http.ErrAbortHandler) // net/http's way to break it
	}
	var api smithy.APIError
	status, code := http.StatusInternalServerError, "InternalFailure"
	if errors.As(err, &api) {
		code = api.ErrorCode()
		if api.ErrorFault() == smithy.FaultClient {
			status = http.StatusBadRequest
		}
	}
	b, _ := json.Marshal(map[string]string{"__type": code, "message": err.Error()}) // strings only
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(status)
	_, _ = w.Write(b)
}

// subscribe pushes events until the subscription or the client ends.
func (h *handler) subscribe(w http.ResponseWriter, r *http.Request, body []byte) {
	in := &sdk.SubscribeToShardInput{}
	if err := json.Unmarshal(body, in); err != nil || in.StartingPosition == nil {
		fail(w, invalid("reading request: %v", err))
		return
	}
	x, err := h.service.Subscribe(r.Context(), value(in.ConsumerARN), value(in.ShardId), *in.StartingPosition)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/vnd.amazon.eventstream")
	initial := eventstream.Message{Payload: []byte("{}")}
	initial.Headers.Set(eventstream.MessageTypeHeader, eventstream.StringValue(eventstream.EventMessageType))
	initial.Headers.Set(eventstream.EventTypeHeader, eventstream.StringValue("initial-response"))
	initial.Headers.Set(eventstream.ContentTypeHeader, eventstream.StringValue("application/json"))
	if err := eventstream.NewEncoder().Encode(w, initial); err != nil {
		return // the client went away
	}
	flush(w)
	codec := awsjson.New11(schemas.Kinesis_20131202) // it has state
	for {
		event, changed, open := x.Next()
		if !open {
			return
		}
		if event == nil {
			select {
			case <-changed:
			case <-r.Context().Done():
				return
			}
			continue
		}
		if err := codec.SerializeEventMessage(schemas.SubscribeToShardEventStream, eventSchema, event, w); err != nil {
			return
		}
		flush(w)
	}
}

var eventSchema = schemas.SubscribeToShardEventStream_SubscribeToShardEvent

func flush(w http.ResponseWriter) {
	_ = http.NewResponseController(w).Flush() // an unbuffered one has nothing to flush
}

var _ smithy.Serializable = (*types.SubscribeToShardEvent)(nil)
