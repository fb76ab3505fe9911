package fcmclient_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/bulksub/bulksub/fcmclient"
	"github.com/bulksub/bulksub/iidclient"
	"github.com/bulksub/bulksub/iidclient/iidtest"
)

func Example() {
	service, err := iidtest.Start(iidtest.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer service.Close()
	key := filepath.Join(os.TempDir(), "fcmclient-example.json")
	if err := os.WriteFile(key, service.CredentialsJSON(service.URL), 0o600); err != nil {
		log.Fatal(err)
	}
	defer os.Remove(key)

	credential, err := iidclient.CredentialsFile(key, false)
	if err != nil {
		log.Fatal(err)
	}
	client, err := fcmclient.New(fcmclient.Config{
		Endpoint:   service.URL, // leave it out for the live service
		Project:    credential.Project(),
		Credential: credential,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	ctx, token := context.Background(), iidtest.Token(1, 1)
	for _, topic := range []string{"news", "news", "sport"} {
		if err := client.Subscribe(ctx, token, topic); err != nil {
			log.Fatal(err)
		}
	}
	list, err := client.List(ctx, token)
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range list.Subscriptions {
		fmt.Println(s.Topic)
	}
	// Output:
	// news
	// sport
}
