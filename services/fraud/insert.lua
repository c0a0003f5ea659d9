-- Returns the photo's first upload time, which stays, come what may; or nothing when the photo is no longer one of its
-- listing's.
local listing, sha, seller, hash, scored = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local revision, generation, uploaded, at = tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9], ARGV[10]
local trimmed, of_text = ARGV[11], ARGV[12]
local known = redis.call('HMGET', prefix .. 'listing:' .. listing, 'removed', 'revision')
if known[1] then return false end
if known[2] and tonumber(known[2]) >= revision
    and redis.call('SISMEMBER', prefix .. 'current:' .. listing, sha) == 0 then return false end
local name = sha .. '/' .. listing
local key = prefix .. 'photo:' .. name
local old = redis.call('HMGET', key, 'hash', 'revision', 'generation', 'uploaded', 'at', 'trimmed')
if old[1] then
    if tonumber(old[4]) < tonumber(uploaded) then uploaded = old[4] end
    if tonumber(old[5]) > tonumber(at) then at = old[5] end
    local older = tonumber(old[2]) > revision
        or (tonumber(old[2]) == revision and tonumber(old[3]) > generation)
    if older then
        for _, one in ipairs(hashes_of(old[1], old[6])) do
            redis.call('ZREM', prefix .. 'in-order:' .. one, order_of(old[4], name))
            redis.call('ZADD', prefix .. 'in-order:' .. one, 0, order_of(uploaded, name))
        end
        redis.call('HSET', key, 'uploaded', uploaded, 'at', at)
        return uploaded
    end
    if old[1] ~= hash or (old[6] or '') ~= trimmed then drop(name) end
    for _, one in ipairs(hashes_of(hash, trimmed)) do
        redis.call('ZREM', prefix .. 'in-order:' .. one, order_of(old[4], name))
    end
end
redis.call('HSET', key, 'hash', hash, 'trimmed', trimmed, 'of_text', of_text, 'seller', seller, 'scored', scored,
    'revision', ARGV[7], 'generation', ARGV[8], 'uploaded', uploaded, 'at', at)
redis.call('SADD', prefix .. 'photos:' .. listing, sha)
for _, one in ipairs(hashes_of(hash, trimmed)) do enter(one, order_of(uploaded, name)) end
return uploaded
