SwaggerUIBundle({
  url: "/api/schema/",
  dom_id: "#page",
  deepLinking: true,
  displayOperationId: true,
  persistAuthorization: false,
  tryItOutEnabled: true,
  validatorUrl: null,
});
