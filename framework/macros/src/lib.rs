#![doc = include_str!("../README.md")]

use std::collections::BTreeMap;
use std::iter::once;

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::quote;
use syn::{Data, DeriveInput, Error, Expr, ExprLit, Field, Fields, Ident, Lit, LitStr, Meta, Result, Type};

/// Implements `tidegate_api::ConfigDef` and a redacted `Debug`.
///
/// Attributes of a field: `#[config(name = "…", default = "…", synonym = "…", importance = "high|medium|low",
/// prefix = "…")]`. The doc comment is required.
#[proc_macro_derive(ConfigDef, attributes(config))]
pub fn derive_config_def(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as DeriveInput);
    expand(&input).unwrap_or_else(Error::into_compile_error).into()
}

struct Key<'a> {
    ident: &'a Ident,
    ty: &'a Type,
    name: String,
    doc: String,
    default: Option<LitStr>,
    synonyms: Vec<LitStr>,
    importance: Ident,
    prefix: bool,
}

fn expand(input: &DeriveInput) -> Result<Tokens> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new_spanned(input, "ConfigDef is for structs"));
    };
    let Fields::Named(fields) = &data.fields else {
        return Err(Error::new_spanned(input, "ConfigDef needs named fields"));
    };
    let keys = fields.named.iter().map(read_field).collect::<Result<Vec<_>>>()?;
    check_names(&keys)?;
    let ident = &input.ident;
    let entries = keys.iter().map(entry);
    // Prefixes first: a key below one belongs to it, whatever it looks like.
    let order = keys.iter().enumerate().filter(|(_, key)| key.prefix);
    let order = order.chain(keys.iter().enumerate().filter(|(_, key)| !key.prefix));
    let reads = order.map(|(at, key)| read(at, key));
    let reader = if keys.is_empty() { quote!(let reader) } else { quote!(let mut reader) };
    let unwrapped = keys.iter().map(|key| {
        let ident = key.ident;
        let plain = key.prefix || option_inner(key.ty).is_some();
        if plain { quote!(#ident) } else { quote!(#ident: #ident?) }
    });
    let shown = keys.iter().map(|key| {
        let (ident, name) = (key.ident, key.ident.to_string());
        // What is passed on may hold passwords: only its keys are shown.
        if key.prefix {
            quote!(.field(#name, &self.#ident.keys().collect::<::std::vec::Vec<_>>()))
        } else {
            quote!(.field(#name, &self.#ident))
        }
    });
    Ok(quote! {
        impl ::tidegate_api::config::ConfigDef for #ident {
            fn keys() -> &'static [::tidegate_api::config::ConfigKey] {
                const KEYS: &[::tidegate_api::config::ConfigKey] = &[#(#entries),*];
                KEYS
            }
            fn parse(
                settings: &::tidegate_api::config::Settings,
            ) -> ::std::result::Result<Self, ::std::vec::Vec<::tidegate_api::config::ConfigIssue>> {
                let keys = <Self as ::tidegate_api::config::ConfigDef>::keys();
                #reader = ::tidegate_api::config::KeyReader::new(settings, keys);
                #(#reads)*
                let issues = reader.finish();
                let whole = (|| ::std::option::Option::Some(Self { #(#unwrapped),* }))();
                match whole {
                    ::std::option::Option::Some(config) if issues.is_empty() => ::std::result::Result::Ok(config),
                    _ => ::std::result::Result::Err(issues),
                }
            }
        }
        impl ::std::fmt::Debug for #ident {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.debug_struct(stringify!(#ident)) #(#shown)* .finish()
            }
        }
    })
}

fn entry(key: &Key<'_>) -> Tokens {
    let Key { name, doc, synonyms, importance, prefix, .. } = key;
    let value = option_inner(key.ty).unwrap_or(key.ty);
    let optional = *prefix || option_inner(key.ty).is_some();
    let default = key
        .default
        .as_ref()
        .map_or_else(|| quote!(::std::option::Option::None), |text| quote!(::std::option::Option::Some(#text)));
    let (kind, secret) = if *prefix {
        (quote!("keys passed on as they are"), quote!(true))
    } else {
        let value = quote!(<#value as ::tidegate_api::config::ConfigValue>);
        (quote!(#value::KIND), quote!(#value::SECRET))
    };
    quote! {
        ::tidegate_api::config::ConfigKey {
            name: #name, synonyms: &[#(#synonyms),*], doc: #doc, kind: #kind, default: #default,
            optional: #optional, importance: ::tidegate_api::config::Importance::#importance,
            secret: #secret, prefix: #prefix,
        }
    }
}

fn read(at: usize, key: &Key<'_>) -> Tokens {
    let ident = key.ident;
    if key.prefix {
        quote!(let #ident = reader.below(&keys[#at]);)
    } else if let Some(inner) = option_inner(key.ty) {
        quote!(let #ident = reader.optional::<#inner>(&keys[#at]);)
    } else {
        let ty = key.ty;
        quote!(let #ident = reader.required::<#ty>(&keys[#at]);)
    }
}

fn read_field(field: &Field) -> Result<Key<'_>> {
    let Some(ident) = &field.ident else {
        return Err(Error::new_spanned(field, "ConfigDef needs named fields"));
    };
    let mut key = Key {
        ident,
        ty: &field.ty,
        name: ident.to_string().trim_start_matches("r#").replace('_', "."),
        doc: doc_of(field),
        default: None,
        synonyms: Vec::new(),
        importance: Ident::new("Medium", ident.span()),
        prefix: false,
    };
    if key.doc.is_empty() {
        return Err(Error::new_spanned(field, "this key has no documentation: write a doc comment"));
    }
    for attribute in field.attrs.iter().filter(|it| it.path().is_ident("config")) {
        attribute.parse_nested_meta(|meta| {
            let text: LitStr = meta.value()?.parse()?;
            if meta.path.is_ident("name") {
                key.name = text.value();
            } else if meta.path.is_ident("default") {
                key.default = Some(text);
            } else if meta.path.is_ident("synonym") {
                key.synonyms.push(text);
            } else if meta.path.is_ident("prefix") {
                key.name = text.value();
                key.prefix = true;
            } else if meta.path.is_ident("importance") {
                key.importance = match text.value().as_str() {
                    "high" => Ident::new("High", text.span()),
                    "medium" => Ident::new("Medium", text.span()),
                    "low" => Ident::new("Low", text.span()),
                    _ => return Err(Error::new_spanned(text, "expected high, medium or low")),
                };
            } else {
                return Err(meta.error("expected name, default, synonym, prefix or importance"));
            }
            Ok(())
        })?;
    }
    if key.default.is_some() && (key.prefix || option_inner(key.ty).is_some()) {
        return Err(Error::new_spanned(field, "a key that may be left out has no default: drop one of the two"));
    }
    Ok(key)
}

/// Refuses names that a user could not tell apart, since case and `.`, `_`, `-` do not count.
fn check_names(keys: &[Key<'_>]) -> Result<()> {
    let mut seen = BTreeMap::new();
    for key in keys {
        for name in once(key.name.clone()).chain(key.synonyms.iter().map(LitStr::value)) {
            let letters = name.chars().filter(|c| !matches!(c, '.' | '_' | '-'));
            let plain: String = letters.flat_map(char::to_lowercase).collect();
            if let Some(other) = seen.insert((key.prefix, plain), name.clone()) {
                return Err(Error::new_spanned(key.ident, format!("'{other}' and '{name}' are the same key")));
            }
        }
    }
    Ok(())
}

fn doc_of(field: &Field) -> String {
    let lines = field.attrs.iter().filter_map(|it| match &it.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value().trim().to_owned()),
            _ => None,
        },
        _ => None,
    });
    lines.collect::<Vec<_>>().join(" ").trim().to_owned()
}

fn option_inner(ty: &Type) -> Option<&Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|it| it.ident == "Option")?;
    match &last.arguments {
        syn::PathArguments::AngleBracketed(arguments) => match arguments.args.first()? {
            syn::GenericArgument::Type(inner) => Some(inner),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests;
