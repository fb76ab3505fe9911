package go422

import (
	"context"
	"maps"
	"testing"

	firebase "firebase.google.com/go/v4"
	"firebase.google.com/go/v4/messaging"
	"google.golang.org/api/option"

	"github.com/bulksub/bulksub/iidclient/iidtest"
	"github.com/bulksub/bulksub/internal/sdk/emulator"
)

// What each API calls a fate.
var (
	old       = map[iidtest.Fate]string{iidtest.Dead: "NOT_FOUND", iidtest.Invalid: "INVALID_ARGUMENT"}
	successor = map[iidtest.Fate]string{iidtest.Dead: "UNREGISTERED", iidtest.Invalid: "INVALID_ARGUMENT"}
)

// The SDK changes topics by both APIs in turns: each knows what the other one has done, and
// that there is nothing to do is a success.
func TestTopicsOfBothAPIs(t *testing.T) {
	service := emulator.Start(t)
	app, err := firebase.NewApp(t.Context(), &firebase.Config{ProjectID: emulator.Project}, option.WithHTTPClient(service.Client(t)))
	if err != nil {
		t.Fatal(err)
	}
	client, err := app.Messaging(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tokens := emulator.Tokens(1000)
	live := len(tokens) - len(emulator.Refused(tokens, old))
	for i, do := range []struct {
		call  func(context.Context, []string, string) (*messaging.TopicManagementResponse, error)
		words map[iidtest.Fate]string
		left  int
	}{
		{client.SubscribeToTopicLegacy, old, live},
		{client.SubscribeToTopic, successor, live},
		{client.UnsubscribeFromTopic, successor, 0},
		{client.UnsubscribeFromTopic, successor, 0},
		{client.UnsubscribeFromTopicLegacy, old, 0},
		{client.SubscribeToTopic, successor, live},
		{client.UnsubscribeFromTopicLegacy, old, 0},
	} {
		res, err := do.call(t.Context(), tokens, "news")
		if err != nil {
			t.Fatal(err)
		}
		got := make(map[int]string)
		for _, e := range res.Errors {
			got[e.Index] = e.Reason
		}
		if want := emulator.Refused(tokens, do.words); !maps.Equal(got, want) || res.SuccessCount != live {
			t.Errorf("call %d: %d succeeded, and %d were refused; want %d", i, res.SuccessCount, len(got), len(want))
		}
		if n := service.Count(t, "news"); n != do.left {
			t.Errorf("call %d: %d are subscribed, want %d", i, n, do.left)
		}
	}
}
