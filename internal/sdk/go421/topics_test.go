package go421

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

// words is how the API calls a fate.
var words = map[iidtest.Fate]string{iidtest.Dead: "NOT_FOUND", iidtest.Invalid: "INVALID_ARGUMENT"}

func TestTopicsOfTheInstanceIDAPI(t *testing.T) {
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
	refused := emulator.Refused(tokens, words)
	for _, do := range []struct {
		call func(context.Context, []string, string) (*messaging.TopicManagementResponse, error)
		left int
	}{
		{client.SubscribeToTopic, len(tokens) - len(refused)},
		{client.UnsubscribeFromTopic, 0},
	} {
		res, err := do.call(t.Context(), tokens, "news")
		if err != nil {
			t.Fatal(err)
		}
		got := make(map[int]string)
		for _, e := range res.Errors {
			got[e.Index] = e.Reason
		}
		if !maps.Equal(got, refused) || res.SuccessCount != len(tokens)-len(refused) {
			t.Errorf("%d succeeded, and %d were refused; want %d", res.SuccessCount, len(got), len(refused))
		}
		if n := service.Count(t, "news"); n != do.left {
			t.Errorf("%d are subscribed, want %d", n, do.left)
		}
	}
}
