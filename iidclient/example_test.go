package iidclient_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/bulksub/bulksub/iidclient"
	"github.com/bulksub/bulksub/iidclient/iidtest"
)

func ExampleClient_BatchAdd() {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"results":[{},{"error":"NOT_FOUND"}]}`)
	}))
	defer service.Close()
	dir, _ := os.MkdirTemp("", "iidclient")
	defer os.RemoveAll(dir)
	keyFile := filepath.Join(dir, "server-key")
	os.WriteFile(keyFile, []byte("test-key\n"), 0o600)

	credential, err := iidclient.ServerKeyFile(keyFile)
	if err != nil {
		fmt.Println(err)
		return
	}
	client, err := iidclient.New(iidclient.Config{Endpoint: service.URL, Credential: credential})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	codes, err := client.BatchAdd(context.Background(), "news", []string{"token-1", "token-2"})
	var refused *iidclient.StatusError
	if errors.As(err, &refused) {
		fmt.Println("the call was refused, the tokens were not judged:", refused.Status)
	}
	for i, code := range codes {
		fmt.Printf("%d %q\n", i, code)
	}
	// Output:
	// 0 ""
	// 1 "NOT_FOUND"
}

// standIn starts a stand-in for the service and logs a client in to it.
func standIn(config iidtest.Config) (client *iidclient.Client, end func()) {
	service, err := iidtest.Start(config)
	if err != nil {
		panic(err)
	}
	dir, err := os.MkdirTemp("", "iidclient")
	if err != nil {
		panic(err)
	}
	file := filepath.Join(dir, "service-account.json")
	if err := os.WriteFile(file, service.CredentialsJSON(service.URL), 0o600); err != nil {
		panic(err)
	}
	credential, err := iidclient.CredentialsFile(file, false)
	if err != nil {
		panic(err)
	}
	client, err = iidclient.New(iidclient.Config{Endpoint: service.URL, Credential: credential})
	if err != nil {
		panic(err)
	}
	return client, func() {
		client.Close()
		service.Close()
		os.RemoveAll(dir)
	}
}

func ExampleClient_BatchImport() {
	bad := iidtest.APNsToken(1, 1)
	client, end := standIn(iidtest.Config{Fates: func(token string) iidtest.Fate {
		if token == bad {
			return iidtest.Invalid
		}
		return iidtest.Live
	}})
	defer end()

	tokens := []string{iidtest.APNsToken(1, 0), bad}
	imported, err := client.BatchImport(context.Background(), "com.example.app", false, tokens)
	if err != nil {
		fmt.Println("no token was judged:", err)
	}
	for i, one := range imported {
		fmt.Printf("%.8s… %q %.11s\n", tokens[i], one.Code, one.RegistrationToken)
	}
	// Output:
	// 9c982dc1… "" g_hegs8jXqW
	// e0b722ef… "INVALID_ARGUMENT"
}

func ExampleClient_Info() {
	gone := iidtest.Token(1, 1)
	client, end := standIn(iidtest.Config{Fates: func(token string) iidtest.Fate {
		if token == gone {
			return iidtest.Dead
		}
		return iidtest.Live
	}})
	defer end()
	ctx := context.Background()
	if err := client.Subscribe(ctx, iidtest.Token(1, 0), "news"); err != nil {
		fmt.Println(err)
	}

	for _, token := range []string{iidtest.Token(1, 0), gone} {
		info, err := client.Info(ctx, token, true)
		var judged *iidclient.TokenError
		switch {
		case errors.As(err, &judged):
			fmt.Println("the token was judged:", judged.Code)
		case err != nil:
			fmt.Println("nothing is known:", err)
		default:
			fmt.Println(info.Platform, info.Application, len(info.Topics), info.Topics[0].Topic)
		}
	}
	// Output:
	// ANDROID com.example.android 1 news
	// the token was judged: NOT_FOUND
}
