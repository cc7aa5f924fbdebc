// Shows the OpenAPI document with the local copy of Swagger UI.
window.addEventListener("load", () => {
  window.ui = SwaggerUIBundle({
    url: "/openapi.json",
    dom_id: "#swagger-ui",
    presets: [SwaggerUIBundle.presets.apis],
    deepLinking: true,
    persistAuthorization: false,
    validatorUrl: null,
  });
});
